-- One decision for each order: a coupon, or why there is none.
CREATE TABLE decisions (
  order_id uuid PRIMARY KEY, -- kept for good, when the inbox has long forgotten
  id uuid NOT NULL,
  user_id text NOT NULL,
  amount bigint CHECK (amount > 0),
  currency text NOT NULL,
  expires_at timestamptz,
  reason text, -- why none
  at timestamptz NOT NULL DEFAULT now(),
  event_id uuid NOT NULL, -- of the event that reported it: asking again is answered by the same event
  CONSTRAINT a_coupon_or_a_reason CHECK ((amount IS NULL) = (reason IS NOT NULL) AND (amount IS NULL) = (expires_at IS NULL))
);
CREATE INDEX coupons_of_user ON decisions (user_id, id) WHERE amount IS NOT NULL;
