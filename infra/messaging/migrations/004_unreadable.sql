-- What nobody can read is bounded: of a message's bytes the first 64 KiB are stored, and of such messages the newest.
ALTER TABLE inbox ADD COLUMN original_bytes bigint; -- the size of a message of which `body` is only the beginning
UPDATE inbox SET original_bytes = octet_length(body), body = substring(body FROM 1 FOR 65536)
  WHERE status IN ('retrying', 'dead') AND octet_length(body) > 65536;
CREATE INDEX inbox_unreadable ON inbox (received_at, message_id) WHERE unreadable;
