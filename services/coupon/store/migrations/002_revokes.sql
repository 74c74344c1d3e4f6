-- A cancelled order's coupon is not active any more. An order that was never firm has a decision for no coupon.
ALTER TABLE decisions ADD COLUMN revoked_at timestamptz, ADD COLUMN revoked_event_id uuid,
  ADD CHECK ((revoked_at IS NULL) = (revoked_event_id IS NULL));
ALTER TABLE decisions ALTER COLUMN currency DROP NOT NULL, ADD CHECK (currency IS NOT NULL OR amount IS NULL);
