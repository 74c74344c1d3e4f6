-- What operators decide about failed messages, and what is needed to list many of them.
ALTER TABLE inbox
  ADD COLUMN dead_since timestamptz, -- since when it is dead: its retention counts from then
  ADD COLUMN discarded_at timestamptz, -- a dead message that an operator has discarded
  ADD COLUMN discard_reason text,
  ADD COLUMN corrected bytea, -- the event with an operator's data, which is handled in place of `body`
  ADD COLUMN error_group uuid, -- the same for messages of one type that failed in the same way
  ADD COLUMN retry_run uuid; -- the run of retries that has retried it last

-- An error without what differs from message to message: ids and numbers.
CREATE FUNCTION error_pattern(error text) RETURNS text LANGUAGE sql IMMUTABLE
  RETURN regexp_replace(
    regexp_replace(error, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', '<id>', 'gi'),
    '[0-9]+([.][0-9]+)?', '<n>', 'g');

-- A hash of type and pattern, as a UUIDv8.
CREATE FUNCTION error_group(type text, error text) RETURNS uuid LANGUAGE sql STABLE
  RETURN overlay(overlay(
    left(encode(sha256(convert_to(concat(type, ' ', error_pattern(error)), 'UTF8')), 'hex'), 32)
    PLACING '8' FROM 13) PLACING '8' FROM 17)::uuid;

-- The retention of messages that are dead already begins now, so that an upgrade deletes none.
UPDATE inbox SET error_group = error_group(type, error), dead_since = CASE status WHEN 'dead' THEN now() END
  WHERE status IN ('retrying', 'dead');

DROP INDEX inbox_failed;
CREATE INDEX inbox_failed ON inbox (received_at, message_id)
  WHERE status IN ('retrying', 'dead') AND discarded_at IS NULL;
CREATE INDEX inbox_discarded ON inbox (received_at, message_id) WHERE discarded_at IS NOT NULL;
CREATE INDEX inbox_error_group ON inbox (error_group, received_at, message_id) INCLUDE (status)
  WHERE status IN ('retrying', 'dead') AND discarded_at IS NULL;
CREATE INDEX inbox_dead_since ON inbox (dead_since) WHERE status = 'dead';
CREATE INDEX inbox_retry_run ON inbox (retry_run) INCLUDE (status) WHERE retry_run IS NOT NULL;
