-- The workers of this service, so that its web processes can tell whether somebody handles its messages. Rewritten every
-- few seconds, so half of each page stays free for the new versions.
CREATE TABLE workers (
  id uuid PRIMARY KEY,
  state json NOT NULL, -- of its consumer, as /readyz shows it
  beat_at timestamptz NOT NULL
) WITH (fillfactor = 50);
