-- Calls to the payment provider are repeated with a growing delay.
ALTER TABLE progress
  ADD COLUMN charge_retries integer NOT NULL DEFAULT 0, -- how often the provider was asked again about this attempt
  ADD COLUMN refund_attempts integer NOT NULL DEFAULT 0,
  ADD COLUMN refund_rejected boolean NOT NULL DEFAULT false; -- the provider's last answer, while the refund is due
