// The flash-sale service's SQL of sales: creating them, reading them, deciding about purchases, counting rejections.
import type {
  CreateFlashSaleRequest,
  FlashSale,
  FlashSaleStatus,
  Rejection,
  Ticket,
} from '../../../contracts/flash-sales.ts';
import type { Database, Queryable } from '../../../infra/database/port.ts';
import { newestFirst } from '../../../infra/database/sql.ts';
import { type Actor, actionParam, recordAction } from '../../../infra/operators/operator-actions.ts';
import type { Snapshot } from '../flash-sale.ts';

export const SCHEMA = 'sluice_flash_sale';

/** An Idempotency-Key, and the hash of the request that has it. */
interface Key {
  readonly idempotencyKey: string;
  readonly requestHash: string;
}

/** The operator that creates a sale, which is recorded, and the key of the request. */
interface Creator {
  readonly actor?: Actor;
  readonly key?: Key | undefined;
}

/**
 * Returns false and stores nothing if the sale would be over already or end before it opens, by the database's clock,
 * or if its key has a sale already.
 */
export async function insertSale(
  database: Queryable,
  id: string,
  sale: CreateFlashSaleRequest,
  { actor, key }: Creator = {},
): Promise<boolean> {
  const record = actor && { actor, action: 'flash-sale.create', service: 'flash-sale', target: id, details: {} };
  const inserted = await database.query(
    `WITH inserted AS (
     INSERT INTO ${SCHEMA}.sales (id, sku, name, unit_price, currency, stock, remaining, queue_cap, drain_per_second,
       hold_seconds, opens_at, closes_at, idempotency_key, request_hash)
     SELECT $1, r.sku, r.name, r."unitPrice", r.currency, r.stock, r.stock, r."queueCap", r."drainPerSecond",
       r."holdSeconds", COALESCE(r."opensAt", now()), r."closesAt", $3::text, $4::text
     FROM json_to_record($2::json) AS r (sku text, name text, "unitPrice" bigint, currency text, stock bigint,
       "queueCap" integer, "drainPerSecond" integer, "holdSeconds" integer, "opensAt" timestamptz,
       "closesAt" timestamptz)
     WHERE "closesAt" IS NULL OR "closesAt" > GREATEST("opensAt", now())
     ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
     RETURNING id
     )${record ? `, recorded AS (${recordAction(5, '(SELECT NULL::json AS before, $2::json AS after FROM inserted)')})` : ''}
     SELECT FROM inserted`,
    [
      id,
      JSON.stringify(sale),
      key?.idempotencyKey ?? null,
      key?.requestHash ?? null,
      ...(record ? [actionParam(record)] : []),
    ],
  );
  return inserted.length === 1;
}

/** `moment`: SQL of the time of the status. */
const selectSale = (moment: string) => `SELECT s.id, s.sku, s.name, s.unit_price AS "unitPrice", s.currency,
    s.queue_cap AS "queueCap", s.drain_per_second AS "drainPerSecond", ${SCHEMA}.iso(s.opens_at) AS "opensAt",
    ${SCHEMA}.iso(s.closes_at) AS "closesAt", s.hold_seconds AS "holdSeconds",
    ${SCHEMA}.status_at(s, ${moment}) AS status,
    json_build_object('initial', s.stock, 'remaining', s.remaining, 'held', s.held, 'sold', s.sold) AS stock,
    json_build_object('length', s.queued, 'cap', s.queue_cap) AS queue,
    json_build_object('admitted', s.admitted, 'ordered', s.sold, 'released', s.released,
      'rejected', json_build_object('queueFull', COALESCE(r.queue_full, 0), 'soldOut', COALESCE(r.sold_out, 0),
        'notOpen', COALESCE(r.not_open, 0))) AS counts
  FROM ${SCHEMA}.sales s LEFT JOIN ${SCHEMA}.rejections r ON r.sale_id = s.id`;

export async function findSale(database: Database, id: string): Promise<FlashSale | undefined> {
  const [sale] = await database.query<FlashSale>(`${selectSale('clock_timestamp()')} WHERE s.id = $1`, [id]);
  return sale;
}

/** The sale whose request had this key, and the hash of that request. */
export async function findSaleByKey(database: Database, key: string) {
  const [found] = await database.query<{ id: string; requestHash: string }>(
    `SELECT id, request_hash AS "requestHash" FROM ${SCHEMA}.sales WHERE idempotency_key = $1`,
    [key],
  );
  return found;
}

/** Newest first, after the sale `after`. One moment decides about the filter and the shown status. */
export const listSales = (
  database: Database,
  status: FlashSaleStatus | undefined,
  after: string | undefined,
  limit: number,
) =>
  database.query<FlashSale>(
    `${selectSale('now()')} WHERE ($1::text IS NULL OR ${SCHEMA}.status_at(s, now()) = $1) ${newestFirst('s.id')}`,
    [status ?? null, after ?? null, limit],
  );

/** Milliseconds until the first opening that is more than `afterMs` away; undefined if there is none. */
export async function msUntilOpening(database: Queryable, afterMs: number): Promise<number | undefined> {
  const [row] = await database.query<{ opensInMs: number | null }>(
    `SELECT extract(epoch FROM min(opens_at) - clock_timestamp())::float8 * 1000 AS "opensInMs" FROM ${SCHEMA}.sales
     WHERE opens_at > clock_timestamp() + $1::float8 * interval '1 ms'`,
    [afterMs],
  );
  return row?.opensInMs ?? undefined;
}

/** The row's decision about a request. A buyer who already holds a live ticket keeps it. */
export type Decision =
  | { readonly outcome: 'admitted'; readonly ticketId: string; readonly position: number }
  | { readonly outcome: 'already-admitted'; readonly ticketId: string }
  | { readonly outcome: Rejection; readonly ticketId: null };

export interface TicketRequest {
  readonly ticketId: string;
  readonly userId: string;
}

/**
 * Decisions in the order of the requests; none for a sale that does not exist. See admit() in
 * migrations/001_flash_sale.sql.
 */
export const admit = (database: Database, saleId: string, requests: readonly TicketRequest[]) =>
  database.query<Decision>(
    `SELECT CASE outcome WHEN 'yours' THEN 'already-admitted' ELSE outcome END AS outcome, ticket_id AS "ticketId",
       position FROM ${SCHEMA}.admit($1, $2::json)`,
    [saleId, JSON.stringify(requests)],
  );

/** Users of new tickets that one peek returns. */
const MAX_USERS = 10_000;

/** A sale and the users of its newest tickets, both as of one moment. */
export interface Peek extends Snapshot {
  readonly stock: number;
  readonly admitted: number;
  /** The users of the tickets after number `after`, in the order of the numbers, up to MAX_USERS. */
  readonly users: readonly string[];
}

/** Reads a sale for a snapshot; undefined if there is no such sale. */
export async function peek(database: Database, saleId: string, after: number): Promise<Peek | undefined> {
  const [row] = await database.query<Peek>(
    `SELECT ${SCHEMA}.status_at(s, clock_timestamp()) AS status, s.remaining, s.queued, s.queue_cap AS "queueCap",
       s.drain_per_second AS "drainPerSecond", s.stock, s.admitted,
       extract(epoch FROM s.opens_at - clock_timestamp())::float8 * 1000 AS "opensInMs",
       COALESCE((SELECT json_agg(t.user_id ORDER BY t.number) FROM (
         SELECT user_id, number FROM ${SCHEMA}.tickets WHERE sale_id = $1 AND number > $2 ORDER BY number
         LIMIT ${MAX_USERS}
       ) AS t), '[]') AS users
     FROM ${SCHEMA}.sales s WHERE s.id = $1`,
    [saleId, after],
  );
  return row;
}

export const addRejections = (database: Database, saleId: string, rejected: Readonly<Record<Rejection, number>>) =>
  database.execute(
    `INSERT INTO ${SCHEMA}.rejections AS r (sale_id, queue_full, sold_out, not_open) VALUES ($1, $2, $3, $4)
     ON CONFLICT (sale_id) DO UPDATE SET queue_full = r.queue_full + $2, sold_out = r.sold_out + $3,
       not_open = r.not_open + $4`,
    [saleId, rejected['queue-full'], rejected['sold-out'], rejected['not-open']],
  );

/** Tickets of one sale as clients see them, by id. One pass over the queue finds all their positions. */
export async function findTickets(database: Database, saleId: string, ids: readonly string[]) {
  const rows = await database.query<{ id: string; userId: string; ticket: Ticket }>(
    `WITH wanted AS (
       SELECT id, user_id, number, status, order_id FROM ${SCHEMA}.tickets WHERE sale_id = $1 AND id = ANY($2::uuid[])
     ), queue AS (
       SELECT number, row_number() OVER (ORDER BY number) AS position FROM ${SCHEMA}.tickets
       WHERE sale_id = $1 AND status = 'queued'
         AND number <= (SELECT max(number) FROM wanted WHERE status = 'queued')
     )
     SELECT wanted.id, wanted.user_id AS "userId", json_strip_nulls(json_build_object('status', wanted.status, 'position', queue.position,
       'orderId', wanted.order_id)) AS ticket
     FROM wanted LEFT JOIN queue USING (number)`,
    [saleId, ids],
  );
  return new Map(rows.map(({ id, userId, ticket }) => [id, { userId, ticket }]));
}
