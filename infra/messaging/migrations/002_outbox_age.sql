-- When the row was written: how long it has waited. `time` is the event's own, hours ago if an old event is sent again.
-- The table is not rewritten. Rows that are here already count as written now: when they were is not known.
ALTER TABLE outbox ADD COLUMN written_at timestamptz NOT NULL DEFAULT now();
