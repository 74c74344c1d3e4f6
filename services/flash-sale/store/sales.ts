// The flash-sale service's SQL of sales: creating, reading, deciding. What becomes of tickets is in tickets.ts.
import type {
  CreateFlashSaleRequest,
  FlashSale,
  FlashSaleStatus,
  Rejection,
  Ticket,
} from '../../../contracts/flash-sales.ts';
import type { Database } from '../../../infra/database/port.ts';

export const SCHEMA = 'sluice_flash_sale';

export const MS = "interval '1 ms'";

/** Answers false, and stores nothing, where the sale would be over before it begins. Now is the database's. */
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

/** What the row decided about a request. */
export interface Decision {
  readonly outcome: 'admitted' | 'yours' | Rejection;
  /** Null for a rejection. */
  readonly ticket_id: string | null;
  /** Null unless it was admitted. */
  readonly position: number | null;
}

/** In the order of the requests; empty for a sale that does not exist. See admit() in migrations/001_flash_sale.sql. */
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

/** A sale as it was at one moment, and who got a ticket since ticket number `after`: all as of one snapshot. */
export interface Glance {
  readonly status: FlashSaleStatus;
  /** Until it opens; 0 or less once it has. */
  readonly opens_in_ms: number;
  readonly remaining: number;
  readonly queued: number;
  readonly queue_cap: number;
  readonly drain_per_second: number;
  readonly stock: number;
  readonly admitted: number;
  /** The users of the tickets after `after`, at most `limit`, in the order of their numbers. */
  readonly users: readonly string[];
}

export async function glance(
  database: Database,
  saleId: string,
  after: number,
  limit: number,
): Promise<Glance | undefined> {
  const [row] = await database.query<Glance>(
    `SELECT ${SCHEMA}.status_at(s, clock_timestamp()) AS status, s.remaining, s.queued, s.queue_cap, s.drain_per_second, s.stock,
       s.admitted, extract(epoch FROM s.opens_at - clock_timestamp())::float8 * 1000 AS opens_in_ms,
       COALESCE((SELECT json_agg(t.user_id ORDER BY t.number) FROM (
         SELECT user_id, number FROM ${SCHEMA}.tickets WHERE sale_id = $1 AND number > $2 ORDER BY number LIMIT $3
       ) AS t), '[]') AS users
     FROM ${SCHEMA}.sales s WHERE s.id = $1`,
    [saleId, after, limit],
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

/** Tickets of one sale as their holders see them, by id. The queue is walked once for all of them. */
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
     ), line AS (
       SELECT number, row_number() OVER (ORDER BY number) AS position FROM ${SCHEMA}.tickets
       WHERE sale_id = $1 AND status = 'queued'
         AND number <= (SELECT max(number) FROM wanted WHERE status = 'queued')
     )
     SELECT wanted.id, wanted.status, wanted.order_id, line.position FROM wanted LEFT JOIN line USING (number)`,
    [saleId, ids],
  );
  return new Map(
    rows.map(({ id, status, order_id, position }) => [
      id,
      { status, ...(position === null ? {} : { position }), ...(order_id === null ? {} : { orderId: order_id }) },
    ]),
  );
}
