// What only someone with a hand on the database can do to a flash sale: hold its drain, and say again, in events of
// their own, what became of orders.
import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { query } from '../../fault/support/sql.ts';

const LOCK = 4_711;

/** From now on no ticket leaves any queue, until the function that this answers is called. */
export async function holdDrain(databaseUrl: string): Promise<() => Promise<void>> {
  await query(
    databaseUrl,
    `CREATE OR REPLACE FUNCTION wait_for_the_hand() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN PERFORM pg_advisory_xact_lock_shared(${LOCK}); RETURN NEW; END $$;
     CREATE OR REPLACE TRIGGER wait_for_the_hand BEFORE UPDATE OF status ON sluice_flash_sale.tickets
       FOR EACH ROW WHEN (OLD.status = 'queued') EXECUTE FUNCTION wait_for_the_hand()`,
  );
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(`SELECT pg_advisory_lock(${LOCK})`);
  return () => client.end();
}

/** An order as the events about it name it. */
export interface Told {
  readonly orderId: string;
  readonly userId: string;
  readonly ticketId?: string;
}

const placed = { currency: 'GBP', total: 5_900, itemCount: 1 };

/** Says on the bus that orders are cancelled. The same `eventId` again is the same event again. */
export const tellCancelled = (databaseUrl: string, orders: readonly Told[], eventId = () => randomUUID() as string) =>
  tell(
    databaseUrl,
    'order.cancelled',
    orders.map((order) => [eventId(), { ...order, reason: 'changed my mind', placed }]),
  );

/** Says on the bus that orders are placed, in events of their own. */
export const tellPlaced = (databaseUrl: string, orders: readonly Told[]) =>
  tell(
    databaseUrl,
    'order.placed',
    orders.map((order) => [randomUUID(), { ...order, ...placed }]),
  );

/** As the order service would: by a row of its outbox. */
async function tell(databaseUrl: string, type: string, events: readonly [id: string, data: Told][]): Promise<void> {
  const rows = events.map(
    ([id, data]) => `('bus', '${id}', '${type}', '${data.orderId}', now(), '${JSON.stringify(data)}')`,
  );
  await query(
    databaseUrl,
    `INSERT INTO sluice_order.outbox (channel, event_id, type, subject, time, data) VALUES ${rows.join(', ')}`,
  );
}

/** Two transactions that waited for each other, since the database was made. */
export async function deadlocks(databaseUrl: string): Promise<number> {
  const [row] = await query<{ deadlocks: string }>(
    databaseUrl,
    'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
  );
  return Number(row?.deadlocks);
}
