// The stored flash sales and tickets of a system, with times that no response contains.
import { openStored, type Stored } from '../../fault/support/stored.ts';

interface StoredTicket {
  readonly id: string;
  readonly sale_id: string;
  readonly number: number;
  readonly user_id: string;
  readonly status: string;
  readonly order_id: string | null;
  /** Milliseconds since 1970, with fractions, on the database's clock. */
  readonly created_ms: number;
  readonly accepted_ms: number | null;
}

export interface StoredSale {
  readonly id: string;
  /** Milliseconds since 1970, as the times of the tickets. */
  readonly opens_ms: number;
  /** The greatest number of queued tickets, computed from the tickets' times. */
  readonly longest: number;
  /** By number. */
  readonly tickets: readonly StoredTicket[];
}

const TICKETS = `SELECT id::text, sale_id::text, number::int, user_id, status, order_id::text,
    (extract(epoch FROM created_at) * 1000)::float8 AS created_ms,
    (extract(epoch FROM accepted_at) * 1000)::float8 AS accepted_ms
  FROM sluice_flash_sale.tickets ORDER BY sale_id, number`;

/** A ticket is in the queue from its creation until it is accepted or closed. */
const SALES = `SELECT id::text, (extract(epoch FROM opens_at) * 1000)::float8 AS opens_ms, COALESCE((
    SELECT max(length) FROM (
      SELECT sum(change) OVER (ORDER BY at, change ROWS UNBOUNDED PRECEDING) AS length FROM (
        SELECT created_at AS at, 1 AS change FROM sluice_flash_sale.tickets WHERE sale_id = s.id
        UNION ALL SELECT COALESCE(accepted_at, closed_at), -1 FROM sluice_flash_sale.tickets
          WHERE sale_id = s.id AND status <> 'queued') AS changes) AS lengths), 0)::int AS longest
  FROM sluice_flash_sale.sales s`;

/** By id. An embedded system can be read only when its process has ended. */
export async function storedSales(stored: Stored): Promise<Map<string, StoredSale>> {
  const database = await openStored(stored);
  try {
    const tickets = await database.query<StoredTicket>(TICKETS);
    const sales = await database.query<Omit<StoredSale, 'tickets'>>(SALES);
    return new Map(
      sales.map((sale) => [sale.id, { ...sale, tickets: tickets.filter(({ sale_id }) => sale_id === sale.id) }]),
    );
  } finally {
    await database.close();
  }
}
