// The order service's SQL.
import type { OrderFact } from '../../../contracts/facts.ts';
import { type Order, stepNames } from '../../../contracts/orders.ts';
import type { Database, Transaction } from '../../../infra/database/port.ts';
import { newestFirst } from '../../../infra/database/sql.ts';
import { defineStatement } from '../../../infra/messaging/outbox.ts';
import { defineOverdue, defineResend } from '../../../infra/messaging/resend.ts';
import {
  type FailedReversals,
  mergeReports,
  type NewOrder,
  type NewTicketOrder,
  type StepReport,
  shownSteps,
} from '../order.ts';

export const SCHEMA = 'sluice_order';

/**
 * CTEs that insert orders and their progress, except orders whose idempotency key or ticket already has one. $1: the
 * orders, with `awaitingEventId` only if they must be paid; $2: milliseconds until order.placed is first resent.
 */
const PLACE = `WITH request AS (
    SELECT * FROM json_to_recordset($1::json) AS r (id uuid, "userId" text, currency text, total bigint, items json,
      "placedEventId" uuid, "idempotencyKey" text, "requestHash" text, "ticketId" uuid, "holdSeconds" integer,
      "awaitingEventId" uuid, event text)
  ), placed AS (
    INSERT INTO ${SCHEMA}.orders
      (id, user_id, currency, total, items, placed_event_id, idempotency_key, request_hash, ticket_id)
    SELECT id, "userId", currency, total, items, "placedEventId", "idempotencyKey", "requestHash", "ticketId"
    FROM request
    ON CONFLICT DO NOTHING
    RETURNING id, created_at
  ), progress AS (
    INSERT INTO ${SCHEMA}.progress (order_id, resend_at, state, awaiting_event_id, expires_at)
    SELECT id, created_at + $2::integer * interval '1 ms',
      CASE WHEN "awaitingEventId" IS NULL THEN 'confirmed' ELSE 'awaiting-payment' END, "awaitingEventId",
      CASE WHEN "awaitingEventId" IS NOT NULL THEN created_at + "holdSeconds" * interval '1 s' END
    FROM placed JOIN request USING (id)
  )`;

/** Places a batch: orders, their progress and order.placed. An order whose key is in use already is left out. */
export const PLACE_ORDERS = defineStatement({
  effects: PLACE,
  events: `SELECT request."placedEventId" AS event_id, 'order.placed' AS type, request.id AS subject,
      placed.created_at AS time, request.event AS data
    FROM placed JOIN request USING (id)`,
  params: (orders: readonly (NewOrder & { readonly event: string })[], resendAfterMs: number) => [
    JSON.stringify(orders),
    resendAfterMs,
  ],
});

interface OrderRow {
  readonly order: Order;
  readonly requestHash: string | null;
  readonly failedReversals: FailedReversals;
}

/** `state`: what happened to the order; `status`: computed from it and the steps, see migrations/006_confirmed.sql. */
const SELECT_ORDER = `SELECT json_strip_nulls(json_build_object('id', o.id, 'userId', o.user_id,
      'status', CASE p.status WHEN 'cancelling' THEN 'cancelled' ELSE p.status END,
      'currency', o.currency, 'total', o.total, 'items', o.items, 'createdAt', ${SCHEMA}.iso(o.created_at),
      'expiresAt', CASE p.status WHEN 'awaiting-payment' THEN ${SCHEMA}.iso(p.expires_at) END,
      'payment', CASE p.state WHEN 'paying' THEN 'in-progress' END, 'cancelReason', NULLIF(p.cancel_reason, ''),
      'steps', json_build_object(${stepNames.map((name) => `'${name}', p.${name}`).join(', ')}))) AS "order",
    o.request_hash AS "requestHash", p.failed_reversals AS "failedReversals"
  FROM ${SCHEMA}.orders o JOIN ${SCHEMA}.progress p ON p.order_id = o.id`;

const orderOf = ({ order, failedReversals }: OrderRow): Order => ({
  ...order,
  steps: shownSteps(order.steps, failedReversals),
});

export async function findOrder(database: Database, id: string): Promise<Order | undefined> {
  const [row] = await database.query<OrderRow>(`${SELECT_ORDER} WHERE o.id = $1`, [id]);
  return row && orderOf(row);
}

/** The user of an order; undefined if there is no such order. */
export async function findOwner(database: Database, id: string): Promise<string | undefined> {
  const [row] = await database.query<{ userId: string }>(
    `SELECT user_id AS "userId" FROM ${SCHEMA}.orders WHERE id = $1`,
    [id],
  );
  return row?.userId;
}

export async function findOrderByKey(database: Database, userId: string, key: string) {
  const text = `${SELECT_ORDER} WHERE o.user_id = $1 AND o.idempotency_key = $2`;
  const [row] = await database.query<OrderRow>(text, [userId, key]);
  return row && { order: orderOf(row), requestHash: row.requestHash };
}

export async function listOrders(database: Database, userId: string, after: string | undefined, limit: number) {
  const text = `${SELECT_ORDER} WHERE o.user_id = $1 ${newestFirst('o.id')}`;
  return (await database.query<OrderRow>(text, [userId, after ?? null, limit])).map(orderOf);
}

/**
 * Records what the services' replies report about steps. A step only moves up: pending < failed < done or skipped <
 * reverted. Reports about unknown orders change nothing; a failed reversal is noted only for a cancelled order.
 */
export const recordSteps = (tx: Transaction, reports: readonly StepReport[]) =>
  tx.execute(
    `UPDATE ${SCHEMA}.progress AS p
     SET ${stepNames.map((name) => `${name} = ${SCHEMA}.furthest(p.${name}, r.${name})`).join(', ')},
         failed_reversals = CASE p.state WHEN 'cancelled'
           THEN p.failed_reversals || r."failedReversals" ELSE p.failed_reversals END
     FROM json_to_recordset($1::json)
       AS r ("orderId" uuid, ${stepNames.map((name) => `${name} jsonb`).join(', ')}, "failedReversals" jsonb)
     WHERE p.order_id = r."orderId"`,
    // Merged and sorted here: in SQL, the statement took almost twice as long.
    // Sorted, because two processes that update the same orders in opposite order deadlock.
    [JSON.stringify(mergeReports(reports))],
  );

/** Places the orders of tickets, one for each ticket however often this runs. */
export const insertTicketOrders = (tx: Transaction, orders: readonly NewTicketOrder[], resendAfterMs: number) =>
  tx.execute(`${PLACE} SELECT FROM placed`, [JSON.stringify(orders), resendAfterMs]);

/**
 * The event of an order's state, the same one each time: order.awaiting-payment, order.placed or order.cancelled.
 * `progress`: a table, or a CTE that returns the changed rows.
 */
const stateEvents = (progress: string) => `SELECT
    CASE p.state WHEN 'cancelled' THEN p.cancelled_event_id WHEN 'confirmed' THEN o.placed_event_id
      ELSE p.awaiting_event_id END AS event_id,
    CASE p.state WHEN 'cancelled' THEN 'order.cancelled' WHEN 'confirmed' THEN 'order.placed'
      ELSE 'order.awaiting-payment' END AS type,
    o.id::text AS subject,
    CASE p.state WHEN 'cancelled' THEN p.cancelled_at WHEN 'confirmed' THEN COALESCE(p.paid_at, o.created_at)
      ELSE o.created_at END AS time,
    json_strip_nulls(CASE p.state
      WHEN 'cancelled' THEN json_build_object('orderId', o.id, 'userId', o.user_id, 'ticketId', o.ticket_id,
        'reason', p.cancel_reason, 'placed', CASE WHEN p.ever_confirmed
          THEN json_build_object('currency', o.currency, 'total', o.total, 'itemCount', json_array_length(o.items)) END)
      WHEN 'confirmed' THEN json_build_object('orderId', o.id, 'userId', o.user_id, 'currency', o.currency,
        'total', o.total, 'itemCount', json_array_length(o.items), 'ticketId', o.ticket_id)
      ELSE json_build_object('orderId', o.id, 'userId', o.user_id, 'ticketId', o.ticket_id, 'currency', o.currency,
        'total', o.total, 'expiresAt', ${SCHEMA}.iso(p.expires_at)) END)::text AS data
  FROM ${progress} p JOIN ${SCHEMA}.orders o ON o.id = p.order_id`;

/** The state events of the orders of tickets. */
export const STATE_FOR_TICKETS = defineStatement({
  events: `${stateEvents(`${SCHEMA}.progress`)} WHERE o.ticket_id = ANY($1::uuid[])`,
  params: (ticketIds: readonly string[]) => [ticketIds],
});

/** Resends order.placed (status `placed`) or order.cancelled (`cancelling`) of orders whose replies are overdue. */
const resendOverdue = (status: 'placed' | 'cancelling') =>
  defineOverdue(
    { table: `${SCHEMA}.progress`, id: 'order_id', waiting: `status = '${status}'` },
    stateEvents('resent'),
  );
export const RESEND_PLACED = resendOverdue('placed');
export const RESEND_CANCELLED = resendOverdue('cancelling');

/** Resends the event of the state of each order that $1 names. */
export const RESEND_BY_ID = defineResend({
  effects: `WITH resent AS (
    SELECT * FROM ${SCHEMA}.progress
    WHERE order_id IN (SELECT r.id FROM json_to_recordset($1::json) AS r (id uuid))
  )`,
  events: stateEvents('resent'),
});

/** order.cancelled or order.placed of the rows that a CTE `changed` returns. */
export const CHANGED_STATE_EVENTS = stateEvents('changed');

/**
 * CTEs that cancel the orders of the CTE `request` ("orderId", "eventId", reason) that are in one of `states`. $2:
 * milliseconds until order.cancelled is first resent.
 */
const cancel = (requestCte: string, states: string) => `${requestCte}, changed AS (
    UPDATE ${SCHEMA}.progress AS p
    SET state = 'cancelled', cancelled_at = now(), cancelled_event_id = r."eventId", cancel_reason = r.reason,
        stock_release_pending = o.ticket_id IS NOT NULL, refund_at = CASE WHEN p.attempt > 0 THEN now() END,
        resends = 0, resend_at = now() + $2::integer * interval '1 ms'
    FROM request r JOIN ${SCHEMA}.orders o ON o.id = r."orderId"
    WHERE p.order_id = r."orderId" AND p.state IN (${states})
    RETURNING p.*
  )`;

/** Cancels an order, unless it is cancelled or being paid. */
export const CANCEL_ORDER = defineStatement({
  effects: cancel(
    `WITH request AS (SELECT $1::uuid AS "orderId", $3::uuid AS "eventId", $4::text AS reason)`,
    "'awaiting-payment', 'confirmed'",
  ),
  events: CHANGED_STATE_EVENTS,
  params: (
    { orderId, eventId, reason }: { orderId: string; eventId: string; reason: string | undefined },
    resendAfterMs: number,
  ) => [orderId, resendAfterMs, eventId, reason ?? null],
});

/** Cancels orders that were not paid in time, at most one for each event id. */
export const EXPIRE_ORDERS = defineStatement({
  effects: cancel(
    `WITH due AS (
    SELECT order_id FROM ${SCHEMA}.progress WHERE state = 'awaiting-payment' AND expires_at <= now()
    ORDER BY expires_at LIMIT cardinality($1::uuid[]) FOR UPDATE SKIP LOCKED
  ), request AS (
    SELECT due.order_id AS "orderId", ids.id AS "eventId", 'not paid in time' AS reason
    FROM (SELECT order_id, row_number() OVER () AS n FROM due) AS due
    JOIN unnest($1::uuid[]) WITH ORDINALITY AS ids (id, n) USING (n)
  )`,
    "'awaiting-payment'",
  ),
  events: CHANGED_STATE_EVENTS,
  params: (eventIds: readonly string[], resendAfterMs: number) => [eventIds, resendAfterMs],
});

/** The query for the time at which the next order expires. */
export const NEXT_EXPIRY = `SELECT min(expires_at) AS due FROM ${SCHEMA}.progress WHERE state = 'awaiting-payment'`;

/** Records that the flash sale has released the stock of these orders. */
export const recordStockReleases = (tx: Transaction, orderIds: readonly string[]) =>
  tx.execute(
    `UPDATE ${SCHEMA}.progress SET stock_release_pending = false
     WHERE order_id = ANY($1::uuid[]) AND state = 'cancelled' AND stock_release_pending`,
    [orderIds],
  );

/** The states: see docs/decisions/0007-cancelling-and-paying.md. */
export async function findState(database: Database, orderId: string) {
  const [row] = await database.query<{ state: NonNullable<OrderFact['state']>; paid: boolean }>(
    `SELECT state, paid_at IS NOT NULL AS paid FROM ${SCHEMA}.progress WHERE order_id = $1`,
    [orderId],
  );
  return row;
}
