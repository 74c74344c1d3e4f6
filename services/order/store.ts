// The order service's SQL.
import type { Order, Step } from '../../contracts/orders.ts';
import type { Database, Queryable, Transaction } from '../../infra/database/port.ts';
import type { NewOrder, NewTicketOrder, Reported } from './order.ts';

const SCHEMA = 'sluice_order';

/**
 * CTEs: orders, unless their idempotency key or ticket has one already, with their progress. $1: the orders; $2: the
 * milliseconds until their steps are overdue.
 */
const PLACE = `WITH request AS (
    SELECT * FROM json_to_recordset($1::json) AS r (id uuid, "userId" text, currency text, total bigint, items json,
      "placedEventId" uuid, "idempotencyKey" text, "requestHash" text, "ticketId" uuid, event text)
  ), placed AS (
    INSERT INTO ${SCHEMA}.orders
      (id, user_id, currency, total, items, placed_event_id, idempotency_key, request_hash, ticket_id)
    SELECT id, "userId", currency, total, items, "placedEventId", "idempotencyKey", "requestHash", "ticketId"
    FROM request
    ON CONFLICT DO NOTHING
    RETURNING id, created_at
  ), progress AS (
    INSERT INTO ${SCHEMA}.progress (order_id, ask_again_at)
    SELECT id, created_at + $2::integer * interval '1 ms' FROM placed
  )`;

/**
 * Places a batch in one statement: orders with their keys, their progress, and their outbox rows, claimed for
 * `leaseMs`. An order whose key is in use already is left out. Returns when each of the others was created, and where
 * its event stands in the outbox, by the order's id.
 */
export async function insertOrders(
  database: Queryable,
  orders: readonly (NewOrder & { readonly event: string })[],
  askAgainMs: number,
  leaseMs: number,
): Promise<Map<string, { readonly created_at: Date; readonly position: number }>> {
  const rows = await database.query<{ id: string; created_at: Date; position: number }>(
    `${PLACE}
     INSERT INTO ${SCHEMA}.outbox (channel, event_id, type, subject, time, data, claimed_until)
     SELECT 'bus', request."placedEventId", 'order.placed', request.id, placed.created_at, request.event,
       now() + $3::integer * interval '1 ms'
     FROM placed JOIN request USING (id)
     RETURNING subject AS id, time AS created_at, position`,
    [JSON.stringify(orders), askAgainMs, leaseMs],
  );
  return new Map(rows.map(({ id, ...row }) => [id, row]));
}

interface OrderRow {
  id: string;
  user_id: string;
  currency: string;
  total: number;
  items: Order['items'];
  created_at: Date;
  request_hash: string | null;
  status: Order['status'];
  points: Step;
  coupon: Step;
  notification: Step;
}

const SELECT_ORDER = `SELECT o.id, o.user_id, o.currency, o.total, o.items, o.created_at, o.request_hash,
    p.status, p.points, p.coupon, p.notification
  FROM ${SCHEMA}.orders o JOIN ${SCHEMA}.progress p ON p.order_id = o.id`;

/** jsonb keeps no order of keys; readers like to find the status first. */
const stepOf = ({ status, ...rest }: Step): Step => ({ status, ...rest });

const orderOf = (row: OrderRow): Order => ({
  id: row.id,
  userId: row.user_id,
  status: row.status,
  currency: row.currency,
  total: row.total,
  items: row.items,
  createdAt: row.created_at.toISOString(),
  steps: { points: stepOf(row.points), coupon: stepOf(row.coupon), notification: stepOf(row.notification) },
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

/** Records what results say, each step only upwards. Results about orders that do not exist change nothing. */
export async function recordSteps(tx: Transaction, reported: readonly Reported[]): Promise<void> {
  await tx.execute(
    `UPDATE ${SCHEMA}.progress AS p
     SET points = ${SCHEMA}.furthest(p.points, r.points), coupon = ${SCHEMA}.furthest(p.coupon, r.coupon),
         notification = ${SCHEMA}.furthest(p.notification, r.notification)
     FROM json_to_recordset($1::json) AS r ("orderId" uuid, points jsonb, coupon jsonb, notification jsonb)
     WHERE p.order_id = r."orderId"`,
    [JSON.stringify(reported)],
  );
}

/** Places the orders of tickets, each once: a ticket that has its order already gets no other. */
export async function insertTicketOrders(
  tx: Transaction,
  orders: readonly NewTicketOrder[],
  askAgainMs: number,
): Promise<void> {
  await tx.execute(`${PLACE} SELECT FROM placed`, [JSON.stringify(orders), askAgainMs]);
}

const placedEvents = `SELECT o.placed_event_id AS event_id, 'order.placed' AS type, o.id::text AS subject,
    o.created_at AS time,
    json_strip_nulls(json_build_object('orderId', o.id, 'userId', o.user_id, 'currency', o.currency,
      'total', o.total, 'itemCount', json_array_length(o.items), 'ticketId', o.ticket_id))::text AS data
  FROM ${SCHEMA}.orders o`;

/** order.placed, as it was first sent, of the orders of the tickets in $1. */
export const PLACED_FOR_TICKETS = `${placedEvents} WHERE o.ticket_id = ANY($1::uuid[])`;

/**
 * CTEs: counts orders as asked for whose steps are overdue. $1: the first delay in milliseconds, doubled each time up to
 * an hour; $2: how many at the most.
 */
export const ASK_AGAIN = `WITH overdue AS (
    SELECT order_id FROM ${SCHEMA}.progress WHERE status = 'placed' AND ask_again_at <= now()
    ORDER BY ask_again_at LIMIT $2 FOR UPDATE SKIP LOCKED
  ), asked AS (
    UPDATE ${SCHEMA}.progress AS p
    SET asked = asked + 1,
        ask_again_at = now() + LEAST($1::integer * interval '1 ms' * 2 ^ LEAST(asked + 1, 20), interval '1 hour')
    FROM overdue WHERE p.order_id = overdue.order_id
    RETURNING p.order_id
  )`;
/** order.placed, the same event each time. */
export const ASKED_AGAIN = `${placedEvents} JOIN asked ON asked.order_id = o.id`;
