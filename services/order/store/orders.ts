// The order service's SQL.
import type { Order, Step } from '../../../contracts/orders.ts';
import type { Database, Transaction } from '../../../infra/database/port.ts';
import { defineStatement } from '../../../infra/messaging/outbox.ts';
import { defineResend } from '../../../infra/messaging/resend.ts';
import { type FailedReversals, type NewOrder, type NewTicketOrder, type Reported, shownStep } from '../order.ts';

export const SCHEMA = 'sluice_order';

export const MS = "interval '1 ms'";

/** SQL of a delay: $1 milliseconds, doubled `times` times, `max` at the most. */
export const backoff = (times: string, max = "interval '1 hour'") =>
  `LEAST($1::integer * ${MS} * 2 ^ LEAST(${times}, 20), ${max})`;

/**
 * CTEs: orders, unless their idempotency key or ticket has one already, with their progress. $1: the orders; $2: the
 * milliseconds until their steps are overdue.
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
    INSERT INTO ${SCHEMA}.progress (order_id, ask_again_at, state, awaiting_event_id, expires_at)
    SELECT id, created_at + $2::integer * ${MS}, CASE WHEN "awaitingEventId" IS NULL THEN 'firm' ELSE 'awaiting-payment' END,
      "awaitingEventId", CASE WHEN "awaitingEventId" IS NOT NULL THEN created_at + "holdSeconds" * interval '1 s' END
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
  id: string;
  user_id: string;
  currency: string;
  total: number;
  items: Order['items'];
  created_at: Date;
  request_hash: string | null;
  status: Order['status'] | 'cancelling';
  state: OrderState;
  expires_at: Date | null;
  cancel_reason: string | null;
  points: Step;
  coupon: Step;
  notification: Step;
  failed_reversals: FailedReversals;
}

const SELECT_ORDER = `SELECT o.id, o.user_id, o.currency, o.total, o.items, o.created_at, o.request_hash,
    p.status, p.state, p.expires_at, p.cancel_reason, p.points, p.coupon, p.notification,
    p.failed_reversals
  FROM ${SCHEMA}.orders o JOIN ${SCHEMA}.progress p ON p.order_id = o.id`;

const orderOf = (row: OrderRow): Order => ({
  id: row.id,
  userId: row.user_id,
  status: row.status === 'cancelling' ? 'cancelled' : row.status,
  currency: row.currency,
  total: row.total,
  items: row.items,
  createdAt: row.created_at.toISOString(),
  ...(row.status === 'awaiting-payment' && row.expires_at ? { expiresAt: row.expires_at.toISOString() } : {}),
  ...(row.state === 'paying' ? { payment: 'in-progress' as const } : {}),
  ...(row.cancel_reason ? { cancelReason: row.cancel_reason } : {}),
  steps: {
    points: shownStep(row.points, row.failed_reversals.points),
    coupon: shownStep(row.coupon, row.failed_reversals.coupon),
    notification: shownStep(row.notification, row.failed_reversals.notification),
  },
});

export async function findOrder(database: Database, id: string): Promise<Order | undefined> {
  const [row] = await database.query<OrderRow>(`${SELECT_ORDER} WHERE o.id = $1`, [id]);
  return row && orderOf(row);
}

export async function findOrderByKey(
  database: Database,
  userId: string,
  key: string,
): Promise<{ order: Order; requestHash: string | null } | undefined> {
  const [row] = await database.query<OrderRow>(`${SELECT_ORDER} WHERE o.user_id = $1 AND o.idempotency_key = $2`, [
    userId,
    key,
  ]);
  return row && { order: orderOf(row), requestHash: row.request_hash };
}

/** Newest first: ids are UUIDv7, so they are ordered by time. */
export async function listOrders(
  database: Database,
  userId: string,
  after: string | undefined,
  limit: number,
): Promise<Order[]> {
  const rows = await database.query<OrderRow>(
    `${SELECT_ORDER} WHERE o.user_id = $1 AND ($2::uuid IS NULL OR o.id < $2) ORDER BY o.id DESC LIMIT $3`,
    [userId, after ?? null, limit],
  );
  return rows.map(orderOf);
}

/**
 * Records what results say, each step only upwards. Results about orders that do not exist change nothing, nor does a
 * failed reversal of an order that is not cancelled.
 */
export async function recordSteps(tx: Transaction, reported: readonly Reported[]): Promise<void> {
  await tx.execute(
    `UPDATE ${SCHEMA}.progress AS p
     SET points = ${SCHEMA}.furthest(p.points, r.points), coupon = ${SCHEMA}.furthest(p.coupon, r.coupon),
         notification = ${SCHEMA}.furthest(p.notification, r.notification),
         failed_reversals = CASE p.state WHEN 'cancelled'
           THEN p.failed_reversals || COALESCE(r."failedReversals", '{}') ELSE p.failed_reversals END
     FROM json_to_recordset($1::json) AS r ("orderId" uuid, points jsonb, coupon jsonb, notification jsonb,
       "failedReversals" jsonb)
     WHERE p.order_id = r."orderId"`,
    [JSON.stringify(reported)],
  );
}

/** Places the orders of tickets, each once: a ticket that has its order already gets no other. */
export async function insertTicketOrders(
  tx: Transaction,
  orders: readonly NewTicketOrder[],
  resendAfterMs: number,
): Promise<void> {
  await tx.execute(`${PLACE} SELECT FROM placed`, [JSON.stringify(orders), resendAfterMs]);
}

/**
 * The event that says what an order has become, the same one each time: order.awaiting-payment, order.placed or
 * order.cancelled. `progress`: the rows to speak of, a table or a CTE that returns the changed ones.
 */
const stateEvents = (progress: string) => `SELECT
    CASE p.state WHEN 'cancelled' THEN p.cancelled_event_id WHEN 'firm' THEN o.placed_event_id
      ELSE p.awaiting_event_id END AS event_id,
    CASE p.state WHEN 'cancelled' THEN 'order.cancelled' WHEN 'firm' THEN 'order.placed'
      ELSE 'order.awaiting-payment' END AS type,
    o.id::text AS subject,
    CASE p.state WHEN 'cancelled' THEN p.cancelled_at WHEN 'firm' THEN COALESCE(p.paid_at, o.created_at)
      ELSE o.created_at END AS time,
    json_strip_nulls(CASE p.state
      WHEN 'cancelled' THEN json_build_object('orderId', o.id, 'userId', o.user_id, 'ticketId', o.ticket_id,
        'reason', p.cancel_reason, 'placed', CASE WHEN p.expires_at IS NULL OR p.paid_at IS NOT NULL
          THEN json_build_object('currency', o.currency, 'total', o.total, 'itemCount', json_array_length(o.items)) END)
      WHEN 'firm' THEN json_build_object('orderId', o.id, 'userId', o.user_id, 'currency', o.currency,
        'total', o.total, 'itemCount', json_array_length(o.items), 'ticketId', o.ticket_id)
      ELSE json_build_object('orderId', o.id, 'userId', o.user_id, 'ticketId', o.ticket_id, 'currency', o.currency,
        'total', o.total, 'expiresAt', ${SCHEMA}.iso(p.expires_at)) END)::text AS data
  FROM ${progress} p JOIN ${SCHEMA}.orders o ON o.id = p.order_id`;

/** What became of the orders of the tickets in $1. */
export const STATE_FOR_TICKETS = defineStatement({
  events: `${stateEvents(`${SCHEMA}.progress`)} WHERE o.ticket_id = ANY($1::uuid[])`,
  params: (ticketIds: readonly string[]) => [ticketIds],
});

/**
 * Resends order.placed (status `placed`) or order.cancelled (`cancelling`) of orders whose replies are overdue, at most
 * `limit`. `resendAfterMs`: the first delay, doubled each time up to an hour.
 */
const resendOverdue = (status: 'placed' | 'cancelling') =>
  defineStatement({
    effects: `WITH overdue AS (
    SELECT order_id FROM ${SCHEMA}.progress WHERE status = '${status}' AND ask_again_at <= now()
    ORDER BY ask_again_at LIMIT $2 FOR UPDATE SKIP LOCKED
  ), asked AS (
    UPDATE ${SCHEMA}.progress AS p
    SET asked = asked + 1, ask_again_at = now() + ${backoff('asked + 1')}
    FROM overdue WHERE p.order_id = overdue.order_id
    RETURNING p.*
  )`,
    events: stateEvents('asked'),
    params: (resendAfterMs: number, limit: number) => [resendAfterMs, limit],
  });
export const RESEND_PLACED = resendOverdue('placed');
export const RESEND_CANCELLED = resendOverdue('cancelling');

/** Resends the last event of the orders that are named. */
export const RESEND_NAMED = defineResend({
  effects: `WITH asked AS (
    SELECT * FROM ${SCHEMA}.progress
    WHERE order_id IN (SELECT r.id FROM json_to_recordset($1::json) AS r (id uuid))
  )`,
  events: stateEvents('asked'),
});

const cancel = (request: string, states: string) => `${request}, changed AS (
    UPDATE ${SCHEMA}.progress AS p
    SET state = 'cancelled', cancelled_at = now(), cancelled_event_id = r."eventId", cancel_reason = r.reason,
        unit_to_return = o.ticket_id IS NOT NULL, asked = 0, ask_again_at = now() + $2::integer * ${MS},
        give_back_at = CASE WHEN p.attempt > 0 THEN now() END
    FROM request r JOIN ${SCHEMA}.orders o ON o.id = r."orderId"
    WHERE p.order_id = r."orderId" AND p.state IN (${states})
    RETURNING p.*
  )`;

interface Cancellation {
  readonly orderId: string;
  readonly eventId: string;
  readonly reason: string | undefined;
}

/** order.cancelled or order.placed of the rows that a CTE `changed` returns. */
export const CHANGED = stateEvents('changed');

/** Cancels orders, unless they are cancelled or being paid. */
export const CANCEL_ORDERS = defineStatement({
  effects: cancel(
    `WITH request AS (
    SELECT * FROM json_to_recordset($1::json) AS r ("orderId" uuid, "eventId" uuid, reason text)
  )`,
    "'awaiting-payment', 'firm'",
  ),
  events: CHANGED,
  params: (cancellations: readonly Cancellation[], resendAfterMs: number) => [
    JSON.stringify(cancellations),
    resendAfterMs,
  ],
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
  events: CHANGED,
  params: (eventIds: readonly string[], resendAfterMs: number) => [eventIds, resendAfterMs],
});

/** The flash sale has the units of these orders back. */
export async function unitsReturned(tx: Transaction, orderIds: readonly string[]): Promise<void> {
  await tx.execute(
    `UPDATE ${SCHEMA}.progress SET unit_to_return = false
     WHERE order_id = ANY($1::uuid[]) AND state = 'cancelled' AND unit_to_return`,
    [orderIds],
  );
}

/** See migrations/003_cancellation_and_payment.sql. */
export type OrderState = 'awaiting-payment' | 'paying' | 'firm' | 'cancelled';

/** Where an order stands; undefined where there is none. */
export async function findState(
  database: Database,
  orderId: string,
): Promise<{ readonly state: OrderState; readonly paid: boolean } | undefined> {
  const [row] = await database.query<{ state: OrderState; paid: boolean }>(
    `SELECT state, paid_at IS NOT NULL AS paid FROM ${SCHEMA}.progress WHERE order_id = $1`,
    [orderId],
  );
  return row;
}
