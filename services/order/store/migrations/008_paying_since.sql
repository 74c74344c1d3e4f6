-- When the payment in progress began, for the age of payments without a known outcome. Null for an order that has not
-- been paid since this migration. Payments that are in progress now count as begun now. The table is not rewritten.
ALTER TABLE progress ADD COLUMN paying_since timestamptz;
UPDATE progress SET paying_since = now() WHERE state = 'paying';
