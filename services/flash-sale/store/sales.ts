// The flash-sale service's SQL of sales: creating them, reading them, deciding about purchases, counting rejections.
import type {
  CreateFlashSaleRequest,
  FlashSale,
  FlashSaleStatus,
  Rejection,
  Ticket,
} from '../../../contracts/flash-sales.ts';
import type { Database } from '../../../infra/database/port.ts';
import type { Snapshot } from '../flash-sale.ts';

export const SCHEMA = 'sluice_flash_sale';

/** Multiplied by a number, an interval of that many milliseconds. */
export const MS = "interval '1 ms'";

/** Returns false and stores nothing if the sale would end before it opens, by the database's clock. */
export async function insertSale(database: Database, id: string, sale: CreateFlashSaleRequest): Promise<boolean> {
  const inserted = await database.execute(
    `INSERT INTO ${SCHEMA}.sales (id, sku, name, unit_price, currency, stock, remaining, queue_cap, drain_per_second,
       hold_seconds, opens_at, closes_at)
     SELECT $1, r.sku, r.name, r."unitPrice", r.currency, r.stock, r.stock, r."queueCap", r."drainPerSecond",
       r."holdSeconds", COALESCE(r."opensAt", now()), r."closesAt"
     FROM json_to_record($2::json) AS r (sku text, name text, "unitPrice" bigint, currency text, stock bigint,
       "queueCap" integer, "drainPerSecond" integer, "holdSeconds" integer, "opensAt" timestamptz,
       "closesAt" timestamptz)
     WHERE "closesAt" IS NULL OR "closesAt" > GREATEST("opensAt", now())`,
    [id, JSON.stringify(sale)],
  );
  return inserted === 1;
}

interface SaleRow {
  id: string;
  sku: string;
  name: string;
  unit_price: number;
  currency: string;
  queue_cap: number;
  drain_per_second: number;
  opens_at: Date;
  closes_at: Date | null;
  hold_seconds: number;
  status: FlashSaleStatus;
  stock: number;
  remaining: number;
  held: number;
  sold: number;
  queued: number;
  admitted: number;
  released: number;
  queue_full: number | null;
  sold_out: number | null;
  not_open: number | null;
}

export async function findSale(database: Database, id: string): Promise<FlashSale | undefined> {
  const [row] = await database.query<SaleRow>(
    `SELECT s.*, ${SCHEMA}.status_at(s, clock_timestamp()) AS status, r.queue_full, r.sold_out, r.not_open
     FROM ${SCHEMA}.sales s LEFT JOIN ${SCHEMA}.rejections r ON r.sale_id = s.id WHERE s.id = $1`,
    [id],
  );
  return (
    row && {
      id: row.id,
      sku: row.sku,
      name: row.name,
      unitPrice: row.unit_price,
      currency: row.currency,
      queueCap: row.queue_cap,
      drainPerSecond: row.drain_per_second,
      opensAt: row.opens_at.toISOString(),
      closesAt: row.closes_at?.toISOString() ?? null,
      holdSeconds: row.hold_seconds,
      status: row.status,
      stock: { initial: row.stock, remaining: row.remaining, held: row.held, sold: row.sold },
      queue: { length: row.queued, cap: row.queue_cap },
      counts: {
        admitted: row.admitted,
        ordered: row.sold,
        released: row.released,
        rejected: {
          queueFull: row.queue_full ?? 0,
          soldOut: row.sold_out ?? 0,
          notOpen: row.not_open ?? 0,
        },
      },
    }
  );
}

/** The row's decision about a request; `yours`: the buyer already holds a live ticket. */
export interface Decision {
  readonly outcome: 'admitted' | 'yours' | Rejection;
  /** Null for a rejection. */
  readonly ticket_id: string | null;
  /** Null unless the outcome is `admitted`. */
  readonly position: number | null;
}

/**
 * Decisions in the order of the requests; none for a sale that does not exist. See admit() in
 * migrations/001_flash_sale.sql.
 */
export function admit(
  database: Database,
  saleId: string,
  requests: readonly { readonly ticketId: string; readonly userId: string }[],
): Promise<Decision[]> {
  return database.query<Decision>(`SELECT outcome, ticket_id, position FROM ${SCHEMA}.admit($1, $2::json)`, [
    saleId,
    JSON.stringify(requests),
  ]);
}

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

export async function addRejections(
  database: Database,
  saleId: string,
  rejected: Readonly<Record<Rejection, number>>,
): Promise<void> {
  await database.execute(
    `INSERT INTO ${SCHEMA}.rejections AS r (sale_id, queue_full, sold_out, not_open) VALUES ($1, $2, $3, $4)
     ON CONFLICT (sale_id) DO UPDATE SET queue_full = r.queue_full + $2, sold_out = r.sold_out + $3,
       not_open = r.not_open + $4`,
    [saleId, rejected['queue-full'], rejected['sold-out'], rejected['not-open']],
  );
}

/** Tickets of one sale as clients see them, by id. One pass over the queue finds all their positions. */
export async function findTickets(
  database: Database,
  saleId: string,
  ids: readonly string[],
): Promise<Map<string, Ticket>> {
  const rows = await database.query<{
    id: string;
    status: Ticket['status'];
    order_id: string | null;
    position: number | null;
  }>(
    `WITH wanted AS (
       SELECT id, number, status, order_id FROM ${SCHEMA}.tickets WHERE sale_id = $1 AND id = ANY($2::uuid[])
     ), queue AS (
       SELECT number, row_number() OVER (ORDER BY number) AS position FROM ${SCHEMA}.tickets
       WHERE sale_id = $1 AND status = 'queued'
         AND number <= (SELECT max(number) FROM wanted WHERE status = 'queued')
     )
     SELECT wanted.id, wanted.status, wanted.order_id, queue.position
     FROM wanted LEFT JOIN queue USING (number)`,
    [saleId, ids],
  );
  return new Map(
    rows.map(({ id, status, order_id, position }) => [
      id,
      { status, ...(position === null ? {} : { position }), ...(order_id === null ? {} : { orderId: order_id }) },
    ]),
  );
}
