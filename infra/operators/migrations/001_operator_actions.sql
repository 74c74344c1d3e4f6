-- What operators have changed. A row is written in the transaction of the change, in whichever schema that is.
CREATE TABLE operator_actions (
  id uuid PRIMARY KEY, -- a UUIDv7, so that newer actions have larger ids
  at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz, -- of an action in several calls: when the latest of them was
  actor text NOT NULL,
  origin text NOT NULL, -- the client's address
  action text NOT NULL,
  service text NOT NULL,
  target text, -- the id of what was changed; null for many messages
  details json NOT NULL, -- the operator's request, such as a reason or a filter
  before json, -- null if it did not exist before
  after json NOT NULL,
  run_key uuid UNIQUE -- the same for all calls of one action; null for an action of one call
);

-- The sums of two objects of counts, by name.
CREATE FUNCTION add_counts(one json, other json) RETURNS json LANGUAGE sql IMMUTABLE
  RETURN (SELECT json_object_agg(key, total ORDER BY key) FROM (
    SELECT key, sum(value::bigint) AS total
    FROM (SELECT * FROM json_each_text(one) UNION ALL SELECT * FROM json_each_text(other)) AS counts
    GROUP BY key) AS sums);
