-- A flash sale and its books. The row decides who gets in, and the constraints make a wrong book impossible: whatever
-- the code does, a batch that would oversell or overfill fails as a whole.
CREATE TABLE sales (
  id uuid PRIMARY KEY,
  sku text NOT NULL,
  name text NOT NULL,
  unit_price bigint NOT NULL CHECK (unit_price >= 0),
  currency text NOT NULL,
  drain_per_second integer NOT NULL CHECK (drain_per_second > 0),
  hold_seconds integer NOT NULL CHECK (hold_seconds >= 0),
  opens_at timestamptz NOT NULL,
  closes_at timestamptz CHECK (closes_at > opens_at),
  created_at timestamptz NOT NULL DEFAULT now(),
  last_admission_at timestamptz,

  stock bigint NOT NULL,
  remaining bigint NOT NULL CHECK (remaining >= 0),
  held bigint NOT NULL DEFAULT 0 CHECK (held >= 0), -- of tickets that are queued or wait for their order
  sold bigint NOT NULL DEFAULT 0 CHECK (sold >= 0),
  queue_cap integer NOT NULL,
  queued integer NOT NULL DEFAULT 0 CHECK (queued BETWEEN 0 AND queue_cap), -- waiting and running tickets
  admitted bigint NOT NULL DEFAULT 0, -- ever: the number of the last ticket
  released bigint NOT NULL DEFAULT 0, -- tickets whose unit went back
  CHECK (remaining + held + sold = stock),
  CHECK (held + sold + released = admitted)
) WITH (fillfactor = 20); -- changed with every batch: room for the new versions on the same page

-- What a sale is at a moment. The moment is always the database's: processes' clocks differ.
CREATE FUNCTION status_at(sale sales, moment timestamptz) RETURNS text LANGUAGE sql IMMUTABLE
  RETURN CASE WHEN moment < (sale).opens_at THEN 'scheduled' WHEN moment >= (sale).closes_at THEN 'closed'
    WHEN (sale).remaining = 0 THEN 'sold-out' ELSE 'open' END;

-- Counted best-effort, apart from the books: a refusal must not cost a write to the row that everyone waits for.
CREATE TABLE refusals (
  sale_id uuid PRIMARY KEY REFERENCES sales,
  queue_full bigint NOT NULL DEFAULT 0,
  sold_out bigint NOT NULL DEFAULT 0,
  not_open bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE tickets (
  id uuid PRIMARY KEY,
  sale_id uuid NOT NULL REFERENCES sales,
  number bigint NOT NULL, -- in the order of admission, from 1, without gaps
  user_id text NOT NULL,
  status text NOT NULL DEFAULT 'queued'
    CHECK (status IN ('queued', 'accepted', 'awaiting-payment', 'ordered', 'released', 'failed')),
  order_id uuid CHECK (order_id IS NOT NULL OR status <> 'ordered'),
  reason text, -- why it was released or failed
  fed_until timestamptz NOT NULL DEFAULT '-infinity', -- a job stands for it in the queue; after this it is added again
  accepted_event_id uuid, -- of flash-sale.ticket.accepted: asking again sends the same event
  asked integer NOT NULL DEFAULT 0, -- how often it was sent again
  ask_again_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  accepted_at timestamptz,
  closed_at timestamptz,
  UNIQUE (sale_id, number)
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX tickets_live ON tickets (sale_id, user_id) WHERE status NOT IN ('released', 'failed');
CREATE INDEX tickets_queued ON tickets (sale_id, number) WHERE status = 'queued';
CREATE INDEX tickets_unanswered ON tickets (ask_again_at) WHERE status = 'accepted';

-- Decides about requests that wait together, in their order: [{ "ticketId", "userId" }, …]. Answers for each one
-- 'admitted', 'yours' (there is a live ticket already), 'not-open', 'sold-out' or 'queue-full'; nothing for a sale that
-- does not exist. A function, because it is one round trip that must see what was committed while it waited for the
-- row: each statement in it has a snapshot of its own, and the row is never locked while a client is thinking.
CREATE FUNCTION admit(the_sale uuid, requests json)
RETURNS TABLE (outcome text, ticket_id uuid, "position" bigint) LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
  sale sales;
  status text;
  room bigint;
  refusal text;
BEGIN
  SELECT * INTO sale FROM sales WHERE id = the_sale FOR NO KEY UPDATE;
  IF NOT FOUND THEN RETURN; END IF;
  status := status_at(sale, clock_timestamp());
  room := CASE status WHEN 'open' THEN least(sale.remaining, sale.queue_cap - sale.queued) ELSE 0 END;
  refusal := CASE WHEN status IN ('scheduled', 'closed') THEN 'not-open'
    WHEN sale.remaining <= sale.queue_cap - sale.queued THEN 'sold-out' ELSE 'queue-full' END;
  IF status = 'sold-out' THEN refusal := 'sold-out'; END IF;

  RETURN QUERY
  WITH request AS (
    SELECT r.ordinality, (r.value->>'ticketId')::uuid AS ticket_id, r.value->>'userId' AS user_id
    FROM json_array_elements(requests) WITH ORDINALITY AS r
  ), live AS (
    SELECT t.user_id, t.id FROM tickets t
    WHERE t.sale_id = the_sale AND t.user_id IN (SELECT request.user_id FROM request)
      AND t.status NOT IN ('released', 'failed')
  ), newcomer AS ( -- of several requests of one user, the first
    SELECT DISTINCT ON (request.user_id) request.user_id, request.ticket_id, request.ordinality
    FROM request WHERE request.user_id NOT IN (SELECT live.user_id FROM live)
    ORDER BY request.user_id, request.ordinality
  ), in_order AS (
    SELECT newcomer.*, row_number() OVER (ORDER BY newcomer.ordinality) AS rank FROM newcomer
  ), admitted AS (
    INSERT INTO tickets (id, sale_id, number, user_id)
    SELECT in_order.ticket_id, the_sale, sale.admitted + in_order.rank, in_order.user_id
    FROM in_order WHERE in_order.rank <= room ORDER BY in_order.rank
    RETURNING tickets.id, tickets.user_id, tickets.number
  ), books AS (
    UPDATE sales SET remaining = sales.remaining - n, held = sales.held + n, queued = sales.queued + n,
      admitted = sales.admitted + n, last_admission_at = clock_timestamp()
    FROM (SELECT count(*) AS n FROM admitted) AS counted
    WHERE sales.id = the_sale AND n > 0
  )
  SELECT
    CASE WHEN admitted.id = request.ticket_id THEN 'admitted'
      WHEN admitted.id IS NOT NULL OR live.id IS NOT NULL THEN 'yours' ELSE refusal END,
    COALESCE(admitted.id, live.id),
    sale.queued + admitted.number - sale.admitted
  FROM request LEFT JOIN admitted USING (user_id) LEFT JOIN live USING (user_id)
  ORDER BY request.ordinality;
END $$;
