// The flash-sale service's SQL of tickets that leave the queue: accepted, settled, released or failed, and resent while
// their order is missing.
import type { EventData } from '../../../contracts/events.ts';
import type { Database, Transaction } from '../../../infra/database/port.ts';
import { defineStatement } from '../../../infra/messaging/outbox.ts';
import { defineOverdue, defineResend } from '../../../infra/messaging/resend.ts';
import { SCHEMA } from './sales.ts';

/**
 * CTEs that update the totals of the sales of changed tickets; in `set`, `n` is the number of those tickets per sale.
 * The sales are locked in the order of their ids, so that two processes with tickets of the same sales never deadlock.
 */
const updateTotals = (tickets: string, set: string, counts = '') => `locked AS MATERIALIZED (
    SELECT id FROM ${SCHEMA}.sales WHERE id IN (SELECT sale_id FROM ${tickets}) ORDER BY id FOR NO KEY UPDATE
  ), totals AS (
    UPDATE ${SCHEMA}.sales AS s SET ${set}
    FROM (SELECT sale_id, count(*) AS n${counts} FROM ${tickets} GROUP BY sale_id) AS changed
      JOIN locked ON locked.id = sale_id
    WHERE s.id = locked.id
  )`;

/** flash-sale.ticket.accepted; `tickets`: a CTE that returns their rows. */
const acceptedEvents = (tickets: string) =>
  `SELECT t.accepted_event_id AS event_id, 'flash-sale.ticket.accepted' AS type, t.id::text AS subject,
     t.accepted_at AS time,
     json_build_object('ticketId', t.id, 'saleId', s.id, 'userId', t.user_id, 'currency', s.currency,
       'item', json_build_object('sku', s.sku, 'name', s.name, 'unitPrice', s.unit_price),
       'holdSeconds', s.hold_seconds)::text AS data
   FROM ${tickets} t JOIN ${SCHEMA}.sales s ON s.id = t.sale_id`;

/** Takes tickets out of the queue, to wait for their orders. Tickets that are not queued stay as they are. */
export const ACCEPT_TICKETS = defineStatement({
  effects: `WITH job AS (
    SELECT * FROM json_to_recordset($1::json) AS j ("ticketId" uuid, "eventId" uuid)
  ), ticket AS MATERIALIZED ( -- in the order of the ids, because a job may run in two processes
    SELECT id, status FROM ${SCHEMA}.tickets WHERE id = ANY($3::uuid[]) ORDER BY id FOR NO KEY UPDATE
  ), accepted AS (
    UPDATE ${SCHEMA}.tickets AS t SET status = 'accepted', accepted_at = now(), accepted_event_id = job."eventId",
      resend_at = now() + $2::integer * interval '1 ms'
    FROM job JOIN ticket ON ticket.id = job."ticketId" WHERE t.id = ticket.id AND ticket.status = 'queued'
    RETURNING t.*
  ), ${updateTotals('accepted', 'queued = s.queued - n')}`,
  events: acceptedEvents('accepted'),
  params: (jobs: readonly { readonly ticketId: string; readonly eventId: string }[], resendAfterMs: number) => [
    JSON.stringify(jobs),
    resendAfterMs,
    jobs.map(({ ticketId }) => ticketId),
  ],
});

/**
 * Locks tickets and then their sales, each in the order of the ids, for a transaction of several statements. A single
 * statement locks in this order, too.
 */
export const lockTickets = (tx: Transaction, ids: readonly string[]) =>
  tx.execute(
    `WITH ticket AS MATERIALIZED (
       SELECT sale_id FROM ${SCHEMA}.tickets WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
     )
     SELECT FROM ${SCHEMA}.sales WHERE id IN (SELECT sale_id FROM ticket) ORDER BY id FOR NO KEY UPDATE`,
    [ids],
  );

const SETTLE = `WITH report AS (
    SELECT * FROM json_to_recordset($1::json) AS r ("ticketId" uuid, "orderId" uuid)
  ), ordered AS (
    UPDATE ${SCHEMA}.tickets AS t SET status = 'ordered', order_id = r."orderId", closed_at = now()
    FROM report r WHERE t.id = r."ticketId" AND t.status IN ('accepted', 'awaiting-payment')
    RETURNING t.*
  ), ${updateTotals('ordered', 'held = s.held - n, sold = s.sold + n')} SELECT FROM ordered`;

type Placed = Pick<EventData<'order.placed'>, 'ticketId' | 'orderId'>;

/**
 * Marks tickets as ordered, and counts their units as sold. A ticket that is not `accepted` or `awaiting-payment` stays
 * as it is: it is ordered already, or its order was cancelled before.
 */
export const settle = (tx: Transaction, reports: readonly Placed[]) => tx.execute(SETTLE, [JSON.stringify(reports)]);

const RELEASE = `WITH report AS (
    SELECT * FROM json_to_recordset($1::json) AS r ("ticketId" uuid, "orderId" uuid, "eventId" uuid, reason text)
  ), before AS (
    SELECT id, status FROM ${SCHEMA}.tickets WHERE id IN (SELECT "ticketId" FROM report)
      AND status IN ('accepted', 'awaiting-payment', 'ordered') ORDER BY id FOR UPDATE
  ), returned AS (
    UPDATE ${SCHEMA}.tickets AS t
    SET status = 'released', order_id = r."orderId", reason = r.reason, closed_at = now(),
      closed_event_id = r."eventId"
    FROM report r JOIN before ON before.id = r."ticketId" WHERE t.id = before.id
    RETURNING t.*, before.status = 'ordered' AS was_sold
  ), ${updateTotals(
    'returned',
    `remaining = s.remaining + n, released = s.released + n,
      held = s.held - (n - n_sold), sold = s.sold - n_sold`,
    ', count(*) FILTER (WHERE was_sold) AS n_sold',
  )} SELECT FROM returned`;

type Cancelled = Pick<EventData<'order.cancelled'>, 'ticketId' | 'orderId' | 'reason'> & { readonly eventId: string };

/**
 * Returns to their sales the units of tickets whose orders were cancelled. `eventId`: of the event that reports it. A
 * ticket whose unit went back before stays as it is.
 */
export const release = (tx: Transaction, reports: readonly Cancelled[]) =>
  tx.execute(RELEASE, [JSON.stringify(reports)]);

/**
 * flash-sale.ticket.closed, as it was first sent, of the released tickets of the orders in $1. Ordered and failed tickets
 * publish none: see contracts/events.ts.
 */
export const RELEASED = defineStatement({
  events: `SELECT c.closed_event_id AS event_id, 'flash-sale.ticket.closed' AS type, c.id::text AS subject,
    c.closed_at AS time,
    json_strip_nulls(json_build_object('ticketId', c.id, 'saleId', c.sale_id, 'userId', c.user_id,
      'outcome', c.status, 'orderId', c.order_id, 'reason', c.reason))::text AS data
  FROM ${SCHEMA}.tickets c
  WHERE c.order_id = ANY($1::uuid[]) AND c.status = 'released'`,
  params: (orderIds: readonly string[]) => [orderIds],
});

const FAIL = `WITH failed AS (
    UPDATE ${SCHEMA}.tickets SET status = 'failed', reason = $2, closed_at = now()
    WHERE id = $1 AND status = 'queued'
    RETURNING *
  ), ${updateTotals(
    'failed',
    'queued = s.queued - n, held = s.held - n, remaining = s.remaining + n, released = s.released + n',
  )} SELECT FROM failed`;

/** Fails a queued ticket and returns its unit to the sale. A ticket that is not queued stays as it is. */
export const failTicket = (database: Database, ticketId: string, reason: string) =>
  database.execute(FAIL, [ticketId, reason]);

const AWAIT_PAYMENT = `UPDATE ${SCHEMA}.tickets AS t
  SET status = 'awaiting-payment', order_id = r."orderId", resends = 0,
    resend_at = GREATEST(r."expiresAt", now()) + $2::integer * interval '1 ms'
  FROM json_to_recordset($1::json) AS r ("ticketId" uuid, "orderId" uuid, "expiresAt" timestamptz)
  WHERE t.id = r."ticketId" AND t.status = 'accepted'`;

/**
 * Records that the orders of tickets await payment; the units stay held. The request is resent `resendAfterMs` after
 * the time to pay is over, unless the outcome is known by then.
 */
export const awaitPayment = (
  tx: Transaction,
  reports: readonly Pick<EventData<'order.awaiting-payment'>, 'ticketId' | 'orderId' | 'expiresAt'>[],
  resendAfterMs: number,
) => tx.execute(AWAIT_PAYMENT, [JSON.stringify(reports), resendAfterMs]);

/** Resends flash-sale.ticket.accepted of tickets whose order, or the outcome of its payment, is overdue. */
export const RESEND_OVERDUE = defineOverdue(
  { table: `${SCHEMA}.tickets`, id: 'id', waiting: "status IN ('accepted', 'awaiting-payment')" },
  acceptedEvents('resent'),
);

/** Resends flash-sale.ticket.accepted of each ticket that is `accepted` or `awaiting-payment`. */
export const RESEND_BY_ID = defineResend({
  effects: `WITH resent AS (
    SELECT * FROM ${SCHEMA}.tickets
    WHERE id IN (SELECT r.id FROM json_to_recordset($1::json) AS r (id uuid))
      AND status IN ('accepted', 'awaiting-payment')
  )`,
  events: acceptedEvents('resent'),
});
