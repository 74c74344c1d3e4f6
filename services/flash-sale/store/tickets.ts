// The flash-sale service's SQL of tickets, from the queue to their end: drained, settled, released, asked about.
import type { Database, Transaction } from '../../../infra/database/port.ts';
import { MS, SCHEMA } from './sales.ts';

/** A sale that is to be drained. */
export interface DrainedSale {
  readonly id: string;
  readonly drain_per_second: number;
  readonly queued: number;
  /** Tickets that have left the queue. */
  readonly left: number;
}

/** Has queued tickets, or is open and opened or admitted someone less than $1 milliseconds ago. */
const IS_DRAINED = `(queued > 0
  OR (opens_at <= now() AND (closes_at IS NULL OR closes_at > now())
    AND GREATEST(opens_at, last_admission_at) > now() - $1::integer * ${MS}))`;

/**
 * Sales with queued tickets, and those that are open and opened or admitted someone less than `quietMs` ago; at most
 * `limit`, those with queued tickets first.
 */
export function listDrained(database: Database, quietMs: number, limit: number): Promise<DrainedSale[]> {
  return database.query<DrainedSale>(
    `SELECT id, drain_per_second, queued, admitted - queued AS left FROM ${SCHEMA}.sales
     WHERE ${IS_DRAINED} ORDER BY (queued > 0) DESC, opens_at LIMIT $2`,
    [quietMs, limit],
  );
}

/** To be called before a sale's queue is opened: something of it may be left from now on. */
export async function rememberQueue(database: Database, saleId: string): Promise<void> {
  await database.execute(`UPDATE ${SCHEMA}.sales SET has_queue = true WHERE id = $1 AND NOT has_queue`, [saleId]);
}

/**
 * Sales that are not to be drained and of whose queues something may be left, or that are among `closed`; at most
 * `limit`. In any order, so that those that cannot be removed hold up no others.
 */
export async function listLeftQueues(
  database: Database,
  closed: readonly string[],
  quietMs: number,
  limit: number,
): Promise<string[]> {
  const rows = await database.query<{ id: string }>(
    `SELECT id FROM ${SCHEMA}.sales WHERE (has_queue OR id = ANY($3::uuid[])) AND NOT ${IS_DRAINED}
     ORDER BY random() LIMIT $2`,
    [quietMs, limit, closed],
  );
  return rows.map(({ id }) => id);
}

/** Nothing is left of a sale's queue, unless it is to be drained again by now. */
export async function forgetQueue(database: Database, saleId: string, quietMs: number): Promise<void> {
  await database.execute(`UPDATE ${SCHEMA}.sales SET has_queue = false WHERE id = $2 AND NOT ${IS_DRAINED}`, [
    quietMs,
    saleId,
  ]);
}

/**
 * Takes the tickets at the head of a sale's queue, of its first `window`, that no job stands for, and counts them as
 * fed for `fedMs`. In order. Two processes never take the same ones.
 */
export async function feed(database: Database, saleId: string, window: number, fedMs: number): Promise<string[]> {
  const rows = await database.query<{ id: string; number: number }>(
    `WITH head AS MATERIALIZED (
       SELECT id, fed_until FROM ${SCHEMA}.tickets WHERE sale_id = $1 AND status = 'queued' ORDER BY number LIMIT $2
     ), hungry AS MATERIALIZED (
       SELECT id FROM ${SCHEMA}.tickets
       WHERE id IN (SELECT id FROM head WHERE fed_until <= now()) AND status = 'queued' AND fed_until <= now()
       FOR UPDATE SKIP LOCKED
     )
     UPDATE ${SCHEMA}.tickets AS t SET fed_until = now() + $3::float8 * ${MS}
     FROM hungry WHERE t.id = hungry.id
     RETURNING t.id, t.number`,
    [saleId, window, fedMs],
  );
  return rows.sort((a, b) => a.number - b.number).map(({ id }) => id);
}

/** The jobs of these tickets are gone: they are due to be fed again. */
export async function unfeed(database: Database, ids: readonly string[]): Promise<void> {
  await database.execute(
    `UPDATE ${SCHEMA}.tickets SET fed_until = '-infinity' WHERE id = ANY($1::uuid[]) AND status = 'queued'`,
    [ids],
  );
}

/** The jobs of all tickets of a sale are gone. Does not wait for tickets that are in the hands of a job now. */
export async function unfeedAll(database: Database, saleId: string): Promise<void> {
  await database.execute(
    `WITH fed AS MATERIALIZED (
       SELECT id FROM ${SCHEMA}.tickets
       WHERE sale_id = $1 AND status = 'queued' AND fed_until > '-infinity' FOR UPDATE SKIP LOCKED
     )
     UPDATE ${SCHEMA}.tickets AS t SET fed_until = '-infinity' FROM fed WHERE t.id = fed.id`,
    [saleId],
  );
}

/**
 * CTE `in_line`: locks the sales of these changed tickets in the order of their ids. Two processes that have tickets of
 * the same sales would wait for each other in a circle, and everyone else for them.
 */
const lockSales = (tickets: string) => `in_line AS MATERIALIZED (
    SELECT id FROM ${SCHEMA}.sales WHERE id IN (SELECT sale_id FROM ${tickets}) ORDER BY id FOR NO KEY UPDATE
  )`;

/**
 * CTEs: lets tickets out of the queue, to wait for their orders. $1: [{ ticketId, eventId }]; $2: milliseconds until
 * the order service is asked again. Tickets that are not queued are left alone.
 */
export const ACCEPT = `WITH job AS (
    SELECT * FROM json_to_recordset($1::json) AS j ("ticketId" uuid, "eventId" uuid)
  ), accepted AS (
    UPDATE ${SCHEMA}.tickets AS t SET status = 'accepted', accepted_at = now(), accepted_event_id = job."eventId",
      ask_again_at = now() + $2::integer * ${MS}
    FROM job WHERE t.id = job."ticketId" AND t.status = 'queued'
    RETURNING t.*
  ), ${lockSales('accepted')}, totals AS (
    UPDATE ${SCHEMA}.sales AS s SET queued = s.queued - n
    FROM (SELECT sale_id, count(*) AS n FROM accepted GROUP BY sale_id) AS counted JOIN in_line ON in_line.id = sale_id
    WHERE s.id = in_line.id
  )`;

const acceptedEvents = (tickets: string) =>
  `SELECT t.accepted_event_id AS event_id, 'flash-sale.ticket.accepted' AS type, t.id::text AS subject,
     t.accepted_at AS time,
     json_build_object('ticketId', t.id, 'saleId', s.id, 'userId', t.user_id, 'currency', s.currency,
       'item', json_build_object('sku', s.sku, 'name', s.name, 'unitPrice', s.unit_price),
       'holdSeconds', s.hold_seconds)::text AS data
   FROM ${tickets} t JOIN ${SCHEMA}.sales s ON s.id = t.sale_id`;

/** flash-sale.ticket.accepted of what ACCEPT has let out. */
export const ACCEPTED = acceptedEvents('accepted');

/** CTEs; $1: [{ ticketId, orderId }]. */
const SETTLE = `WITH report AS (
    SELECT * FROM json_to_recordset($1::json) AS r ("ticketId" uuid, "orderId" uuid)
  ), closed AS (
    UPDATE ${SCHEMA}.tickets AS t SET status = 'ordered', order_id = r."orderId", closed_at = now()
    FROM report r WHERE t.id = r."ticketId" AND t.status IN ('accepted', 'awaiting-payment')
    RETURNING t.*
  ), ${lockSales('closed')}, totals AS (
    UPDATE ${SCHEMA}.sales AS s SET held = s.held - n, sold = s.sold + n
    FROM (SELECT sale_id, count(*) AS n FROM closed GROUP BY sale_id) AS counted JOIN in_line ON in_line.id = sale_id
    WHERE s.id = in_line.id
  )`;

/**
 * Tickets have their orders, their units are sold. `reports`: [{ ticketId, orderId }], as JSON. One that is not waiting
 * for its order is left alone: it has it already, or the order was cancelled before.
 */
export async function settle(tx: Transaction, reports: string): Promise<void> {
  await tx.execute(`${SETTLE} SELECT FROM closed`, [reports]);
}

/** CTEs; $1: [{ ticketId, orderId, eventId, reason? }]. */
const RELEASE = `WITH report AS (
    SELECT * FROM json_to_recordset($1::json) AS r ("ticketId" uuid, "orderId" uuid, "eventId" uuid, reason text)
  ), before AS (
    SELECT id, status FROM ${SCHEMA}.tickets WHERE id IN (SELECT "ticketId" FROM report)
      AND status IN ('accepted', 'awaiting-payment', 'ordered') ORDER BY id FOR UPDATE
  ), closed AS (
    UPDATE ${SCHEMA}.tickets AS t
    SET status = 'released', order_id = r."orderId", reason = r.reason, closed_at = now(),
      closed_event_id = r."eventId"
    FROM report r JOIN before ON before.id = r."ticketId" WHERE t.id = before.id
    RETURNING t.*, before.status = 'ordered' AS was_sold
  ), ${lockSales('closed')}, totals AS (
    UPDATE ${SCHEMA}.sales AS s SET remaining = s.remaining + n, released = s.released + n,
      held = s.held - (n - n_sold), sold = s.sold - n_sold
    FROM (SELECT sale_id, count(*) AS n, count(*) FILTER (WHERE was_sold) AS n_sold FROM closed GROUP BY sale_id)
      AS counted JOIN in_line ON in_line.id = sale_id
    WHERE s.id = in_line.id
  )`;

/**
 * Orders were cancelled, their units go back. `reports`: [{ ticketId, orderId, eventId, reason? }], as JSON. A ticket
 * that has given its unit back is left alone.
 */
export async function release(tx: Transaction, reports: string): Promise<void> {
  await tx.execute(`${RELEASE} SELECT FROM closed`, [reports]);
}

/** flash-sale.ticket.closed, as it was first sent, of the released tickets of the orders in $1. */
export const RELEASED = `SELECT c.closed_event_id AS event_id, 'flash-sale.ticket.closed' AS type, c.id::text AS subject,
    c.closed_at AS time,
    json_strip_nulls(json_build_object('ticketId', c.id, 'saleId', c.sale_id, 'userId', c.user_id,
      'outcome', c.status, 'orderId', c.order_id, 'reason', c.reason))::text AS data
  FROM ${SCHEMA}.tickets c
  WHERE c.order_id = ANY($1::uuid[]) AND c.status = 'released'`;

/** CTEs; $1: the ticket's id; $2: why. */
const FAIL = `WITH closed AS (
    UPDATE ${SCHEMA}.tickets SET status = 'failed', reason = $2, closed_at = now()
    WHERE id = $1 AND status = 'queued'
    RETURNING *
  ), ${lockSales('closed')}, totals AS (
    UPDATE ${SCHEMA}.sales AS s SET queued = s.queued - n, held = s.held - n, remaining = s.remaining + n,
      released = s.released + n
    FROM (SELECT sale_id, count(*) AS n FROM closed GROUP BY sale_id) AS counted JOIN in_line ON in_line.id = sale_id
    WHERE s.id = in_line.id
  )`;

/** A ticket could not be let out of the queue: it gives its unit back. One that has left the queue is left alone. */
export async function failTicket(database: Database, ticketId: string, reason: string): Promise<void> {
  await database.execute(`${FAIL} SELECT FROM closed`, [ticketId, reason]);
}

/**
 * Tickets have orders that wait for payment. Their units stay held. Whether they were paid is asked for once the time
 * to pay is over, `resendAfterMs` later, if nobody has told by then.
 */
export async function awaitPayment(
  tx: Transaction,
  reports: readonly { readonly ticketId: string; readonly orderId: string; readonly expiresAt: string }[],
  resendAfterMs: number,
): Promise<void> {
  await tx.execute(
    `UPDATE ${SCHEMA}.tickets AS t
     SET status = 'awaiting-payment', order_id = r."orderId", asked = 0,
       ask_again_at = GREATEST(r."expiresAt", now()) + $2::integer * ${MS}
     FROM json_to_recordset($1::json) AS r ("ticketId" uuid, "orderId" uuid, "expiresAt" timestamptz)
     WHERE t.id = r."ticketId" AND t.status = 'accepted'`,
    [JSON.stringify(reports), resendAfterMs],
  );
}

/**
 * CTEs: counts tickets as asked for whose order is overdue, or what became of its payment. $1: the first delay in milliseconds, doubled each time up
 * to an hour; $2: how many at the most.
 */
export const RESEND = `WITH overdue AS (
    SELECT id FROM ${SCHEMA}.tickets WHERE status IN ('accepted', 'awaiting-payment') AND ask_again_at <= now()
    ORDER BY ask_again_at LIMIT $2 FOR UPDATE SKIP LOCKED
  ), asked AS (
    UPDATE ${SCHEMA}.tickets AS t
    SET asked = asked + 1,
        ask_again_at = now() + LEAST($1::integer * ${MS} * 2 ^ LEAST(asked + 1, 20), interval '1 hour')
    FROM overdue WHERE t.id = overdue.id
    RETURNING t.*
  )`;
export const RESENT = acceptedEvents('asked');
