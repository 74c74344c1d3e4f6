// Direct access to the database of a flash sale: blocks its drain, publishes events about orders, counts deadlocks.
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { query } from '../../fault/support/sql.ts';

const LOCK = 4_711;

/** From now on no ticket leaves any queue, until the returned function is called. */
export async function blockDrain(databaseUrl: string): Promise<() => Promise<void>> {
  await query(
    databaseUrl,
    `CREATE OR REPLACE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN PERFORM pg_advisory_xact_lock_shared(${LOCK}); RETURN NEW; END $$;
     CREATE OR REPLACE TRIGGER wait_for_test BEFORE UPDATE OF status ON sluice_flash_sale.tickets
       FOR EACH ROW WHEN (OLD.status = 'queued') EXECUTE FUNCTION wait_for_test()`,
  );
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(`SELECT pg_advisory_lock(${LOCK})`);
  return () => client.end();
}

/** An order, in the fields of its events. */
export interface OrderReference {
  readonly orderId: string;
  readonly userId: string;
  readonly ticketId?: string;
}

const placed = { currency: 'GBP', total: 5_900, itemCount: 1 };

/** Publishes that orders are cancelled; an event with the same `eventId` is the same event again. */
export const publishCancelled = (
  databaseUrl: string,
  orders: readonly OrderReference[],
  eventId = () => randomUUID() as string,
) =>
  publish(
    databaseUrl,
    'order.cancelled',
    orders.map((order) => [eventId(), { ...order, reason: 'changed my mind', placed }]),
  );

/** Publishes that orders are placed, in new events. */
export const publishPlaced = (databaseUrl: string, orders: readonly OrderReference[]) =>
  publish(
    databaseUrl,
    'order.placed',
    orders.map((order) => [randomUUID(), { ...order, ...placed }]),
  );

/** By rows of the order service's outbox. */
async function publish(
  databaseUrl: string,
  type: string,
  events: readonly [id: string, data: OrderReference][],
): Promise<void> {
  const rows = events.map(
    ([id, data]) => `('bus', '${id}', '${type}', '${data.orderId}', now(), '${JSON.stringify(data)}')`,
  );
  await query(
    databaseUrl,
    `INSERT INTO sluice_order.outbox (channel, event_id, type, subject, time, data) VALUES ${rows.join(', ')}`,
  );
}

/** `none`, or the number of deadlocks in this database and what the log of a server of the tests says about them. */
export async function deadlocks(databaseUrl: string): Promise<string> {
  const [row] = await query<{ deadlocks: string; folder: string }>(
    databaseUrl,
    `SELECT deadlocks, current_setting('data_directory') AS folder FROM pg_stat_database
     WHERE datname = current_database()`,
  );
  if (Number(row?.deadlocks) === 0) return 'none';
  const log = await readFile(join(String(row?.folder), '..', 'output.log'), 'utf8').catch(() => 'no log');
  const [, ...reports] = log.split('deadlock detected');
  return [`${row?.deadlocks}:`, ...reports.map((report) => report.slice(0, 3_000))].join('\n');
}
