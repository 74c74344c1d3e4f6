-- Failed attempts: at messages, and at other work of the service, such as the payment of an order. Written in the
-- transaction that records the failure, and deleted after INBOX_RETENTION_DAYS. Attempts that succeed have no row here.
CREATE TABLE attempts (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  subject uuid, -- what the work is about, such as an order
  message_id uuid, -- null for work that is no message
  type text, -- of the message
  attempt integer NOT NULL, -- its number, from 1; after a retry by an operator from 1 again
  outcome text NOT NULL, -- of a message: 'retrying', 'dead', or of its reply 'reply-retrying', 'reply-dead'
  error text NOT NULL,
  duration_ms integer, -- null if it is not known
  report_id uuid, -- of the event that reports the message dead
  failed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX attempts_of_subject ON attempts (subject, failed_at) WHERE subject IS NOT NULL;
-- BRIN: rows arrive in the order of this column.
CREATE INDEX attempts_age ON attempts USING brin (failed_at);
