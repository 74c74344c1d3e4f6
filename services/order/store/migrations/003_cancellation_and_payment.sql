-- An order may have to be paid before it is firm, and may be cancelled. `state` is where it stands:
--   awaiting-payment ⇄ paying → firm → cancelled, or awaiting-payment → cancelled
-- Each change is one conditional update of this row, so of a payment, an expiry and a cancellation one wins.
ALTER TABLE progress
  ADD COLUMN state text NOT NULL DEFAULT 'firm' CHECK (state IN ('awaiting-payment', 'paying', 'firm', 'cancelled')),
  ADD COLUMN awaiting_event_id uuid, -- of order.awaiting-payment; of an order that never had to be paid null
  ADD COLUMN expires_at timestamptz, -- of an order that had or has to be paid
  ADD COLUMN attempt integer NOT NULL DEFAULT 0, -- at a payment
  ADD COLUMN charge_again_at timestamptz, -- while paying: when the provider is asked again what became of it
  ADD COLUMN paid_at timestamptz,
  ADD COLUMN give_back_at timestamptz, -- cancelled after a payment was tried: when the provider is told (again)
  ADD COLUMN cancelled_at timestamptz,
  ADD COLUMN cancelled_event_id uuid, -- of order.cancelled: asking again sends the same event
  ADD COLUMN cancel_reason text,
  ADD COLUMN unit_to_return boolean NOT NULL DEFAULT false, -- cancelled, and its flash sale has not answered yet
  ADD CONSTRAINT to_be_paid CHECK (expires_at IS NOT NULL AND awaiting_event_id IS NOT NULL
    OR state NOT IN ('awaiting-payment', 'paying') AND paid_at IS NULL),
  ADD CONSTRAINT cancelled_with_its_event CHECK ((state = 'cancelled') = (cancelled_event_id IS NOT NULL)
    AND (state = 'cancelled') = (cancelled_at IS NOT NULL)),
  ADD CONSTRAINT paid_is_firm CHECK (NOT (state IN ('awaiting-payment', 'paying') AND paid_at IS NOT NULL));

-- 'cancelling': not every service has answered yet. Clients see it as cancelled.
DROP INDEX progress_open;
ALTER TABLE progress DROP COLUMN status;
ALTER TABLE progress ADD COLUMN status text NOT NULL GENERATED ALWAYS AS (
  CASE state
    WHEN 'firm' THEN
      CASE WHEN points->>'status' IN ('done', 'skipped') AND coupon->>'status' IN ('done', 'skipped')
        AND notification->>'status' IN ('done', 'skipped') THEN 'completed' ELSE 'placed' END
    WHEN 'cancelled' THEN
      CASE WHEN points->>'status' = 'reverted' AND coupon->>'status' = 'reverted'
        AND notification->>'status' = 'reverted' AND NOT unit_to_return THEN 'cancelled' ELSE 'cancelling' END
    ELSE 'awaiting-payment' END) STORED;
CREATE INDEX progress_open ON progress (status, ask_again_at) WHERE status IN ('placed', 'cancelling');
CREATE INDEX progress_expiring ON progress (expires_at) WHERE state = 'awaiting-payment';
CREATE INDEX progress_paying ON progress (charge_again_at) WHERE state = 'paying';
CREATE INDEX progress_giving_back ON progress (give_back_at) WHERE give_back_at IS NOT NULL;
