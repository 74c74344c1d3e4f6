-- Events that were caused by what this service committed and that have not left yet. A row is written in the
-- transaction that caused it, and deleted once the broker confirmed it.
CREATE TABLE outbox (
  position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  channel text NOT NULL CHECK (channel IN ('bus', 'user')), -- where it goes: the event bus, or a user's topic
  event_id uuid NOT NULL,
  type text NOT NULL,
  subject text NOT NULL, -- the order's id; for channel 'user' the user's
  time timestamptz NOT NULL,
  data text NOT NULL, -- JSON
  claimed_until timestamptz NOT NULL DEFAULT '-infinity', -- a relay is publishing it, until then at the latest
  failures integer NOT NULL DEFAULT 0,
  error text
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);

-- Messages that reached this service: 'done' ones are remembered so that a repeated delivery changes nothing, the
-- others wait here for an attempt ('pending', 'retrying') or for a person ('dead').
CREATE TABLE inbox (
  message_id uuid PRIMARY KEY, -- the event's id; made from the body's hash where it has none
  type text,
  subject uuid,
  status text NOT NULL CHECK (status IN ('pending', 'retrying', 'done', 'dead')),
  body bytea, -- as it arrived; null once it is done
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz NOT NULL DEFAULT now(),
  claimed_until timestamptz, -- an attempt is under way, until then at the latest
  asked_again boolean NOT NULL DEFAULT false, -- it arrived once more: the answer is to be repeated
  failure_id uuid, -- the id of the step.failed that reported it dead
  error text,
  unreadable boolean NOT NULL DEFAULT false, -- dead because nobody could read it: a readable copy takes its place
  received_at timestamptz NOT NULL DEFAULT now(),
  handled_at timestamptz
) WITH (fillfactor = 80);
CREATE INDEX inbox_due ON inbox (next_attempt_at) WHERE status IN ('pending', 'retrying') OR asked_again;
CREATE INDEX inbox_failed ON inbox (received_at, message_id) WHERE status IN ('retrying', 'dead');
-- For pruning. BRIN: rows arrive in the order of this column, and a message should not pay for a third B-tree entry.
CREATE INDEX inbox_age ON inbox USING brin (received_at);

-- A time as contracts show it: ISO 8601 in UTC.
CREATE FUNCTION iso(at timestamptz) RETURNS text LANGUAGE sql STABLE
  RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
