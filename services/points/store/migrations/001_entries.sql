-- The ledger: a balance is the sum of its entries. Zero points are an entry too.
CREATE TABLE entries (
  id uuid NOT NULL,
  order_id uuid NOT NULL,
  user_id text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('award')),
  points bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  event_id uuid NOT NULL, -- of the event that reported it: asking again is answered by the same event
  PRIMARY KEY (user_id, id),
  CONSTRAINT one_entry_per_order_and_kind UNIQUE (order_id, kind) -- kept for good, when the inbox has long forgotten
);
