-- New names: confirmed (was firm), resend (ask again), refund (give back), stock release (unit to return).
ALTER TABLE progress RENAME COLUMN asked TO resends; -- of the event whose replies are missing
ALTER TABLE progress RENAME COLUMN ask_again_at TO resend_at;
ALTER TABLE progress RENAME COLUMN give_back_at TO refund_at;
ALTER TABLE progress RENAME COLUMN unit_to_return TO stock_release_pending;
ALTER TABLE progress RENAME CONSTRAINT paid_is_firm TO paid_is_confirmed;
ALTER INDEX progress_giving_back RENAME TO progress_refunds;

-- `status` depends on `state`, so it is dropped first, and its index with it. The next statement rewrites the table once.
--   awaiting-payment ⇄ paying → confirmed → cancelled, or awaiting-payment → cancelled
-- `status` is computed here and nowhere else. 'cancelling': not every service has replied. Clients see 'cancelled'.
ALTER TABLE progress DROP COLUMN status;
ALTER TABLE progress
  DROP CONSTRAINT progress_state_check,
  ALTER COLUMN state DROP DEFAULT,
  ALTER COLUMN state TYPE text USING CASE state WHEN 'firm' THEN 'confirmed' ELSE state END,
  ALTER COLUMN state SET DEFAULT 'confirmed',
  ADD CONSTRAINT progress_state_check CHECK (state IN ('awaiting-payment', 'paying', 'confirmed', 'cancelled')),
  ADD COLUMN ever_confirmed boolean NOT NULL GENERATED ALWAYS AS (
    state = 'confirmed' OR state = 'cancelled' AND (expires_at IS NULL OR paid_at IS NOT NULL)) STORED,
  ADD COLUMN status text NOT NULL GENERATED ALWAYS AS (
    CASE state
      WHEN 'confirmed' THEN
        CASE WHEN points->>'status' IN ('done', 'skipped') AND coupon->>'status' IN ('done', 'skipped')
          AND notification->>'status' IN ('done', 'skipped') THEN 'completed' ELSE 'placed' END
      WHEN 'cancelled' THEN
        CASE WHEN points->>'status' = 'reverted' AND coupon->>'status' = 'reverted'
          AND notification->>'status' = 'reverted' AND NOT stock_release_pending THEN 'cancelled' ELSE 'cancelling' END
      ELSE 'awaiting-payment' END) STORED;
CREATE INDEX progress_open ON progress (status, resend_at) WHERE status IN ('placed', 'cancelling');
