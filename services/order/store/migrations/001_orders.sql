-- What was ordered. Never changes; what changes is in `progress`.
CREATE TABLE orders (
  id uuid PRIMARY KEY,
  user_id text NOT NULL,
  currency text NOT NULL,
  total bigint NOT NULL CHECK (total >= 0),
  items json NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  placed_event_id uuid NOT NULL, -- of order.placed: asking again sends the same event
  idempotency_key text,
  request_hash text, -- of the request that used the key
  CHECK ((idempotency_key IS NULL) = (request_hash IS NULL))
);
CREATE UNIQUE INDEX orders_idempotency ON orders (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX orders_of_user ON orders (user_id, id);

-- A step only moves up: pending < failed < done or skipped < reverted.
CREATE FUNCTION step_rank(step jsonb) RETURNS integer LANGUAGE sql IMMUTABLE
  RETURN CASE step->>'status' WHEN 'pending' THEN 0 WHEN 'failed' THEN 1 WHEN 'done' THEN 2 WHEN 'skipped' THEN 2
    WHEN 'reverted' THEN 3 END;
CREATE FUNCTION furthest(known jsonb, reported jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
  RETURN CASE WHEN step_rank(reported) > step_rank(known) THEN reported ELSE known END;

-- How far the order is: a step is { status, at, detail }. The status follows from the steps.
CREATE TABLE progress (
  order_id uuid PRIMARY KEY,
  points jsonb NOT NULL DEFAULT '{"status": "pending"}',
  coupon jsonb NOT NULL DEFAULT '{"status": "pending"}',
  notification jsonb NOT NULL DEFAULT '{"status": "pending"}',
  status text NOT NULL GENERATED ALWAYS AS (
    CASE WHEN points->>'status' IN ('done', 'skipped') AND coupon->>'status' IN ('done', 'skipped')
      AND notification->>'status' IN ('done', 'skipped') THEN 'completed' ELSE 'placed' END) STORED,
  asked integer NOT NULL DEFAULT 0, -- how often order.placed was sent again
  ask_again_at timestamptz NOT NULL
) WITH (fillfactor = 60);
CREATE INDEX progress_open ON progress (ask_again_at) WHERE status = 'placed';
