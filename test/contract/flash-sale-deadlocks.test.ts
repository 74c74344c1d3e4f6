// Two processes that change the rows of the same sales never wait for each other, however slow they are.
import pg from 'pg';
import { pino } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Event, EventData } from '../../contracts/events.ts';
import type { Database, Transaction } from '../../infra/database/port.ts';
import { openPostgres } from '../../infra/database/postgres.ts';
import { Outbox } from '../../infra/messaging/outbox.ts';
import { groupBy } from '../../infra/runtime/collections.ts';
import type { AnyService } from '../../infra/runtime/service.ts';
import { createTicketAcceptance } from '../../services/flash-sale/accept-ticket.ts';
import { flashSaleService } from '../../services/flash-sale/index.ts';
import { admit, findSale, insertSale } from '../../services/flash-sale/store/sales.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { freshDatabase } from '../setup/postgres.ts';
import { openAlone } from '../setup/service-alone.ts';

const { databaseUrl } = inject('servers');
const log = pino({ level: 'silent' });

describe.skipIf(!databaseUrl)('of two processes on PostgreSQL', () => {
  let url: string;
  let drop: () => Promise<void>;
  let database: Database;
  let service: AnyService;
  beforeAll(async () => {
    ({ url, drop } = await freshDatabase(String(databaseUrl)));
    database = openPostgres({ url, poolSize: 4, log });
    ({ service } = await openAlone(database, 'flash-sale', (context) =>
      flashSaleService({ ...context, queues: undefined }),
    ));
    // A process that has changed a sale gives the other one time to change one, too.
    await database.script(`CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$`);
  });
  afterAll(async () => {
    await database?.close();
    await drop?.();
  });

  /** A sale with two accepted tickets. */
  async function sell() {
    const saleId = uuidv7();
    const sale = { sku: 'MUG', name: 'Mug', unitPrice: 100, currency: 'GBP', drainPerSecond: 100, holdSeconds: 0 };
    await insertSale(database, saleId, { ...sale, stock: 10, queueCap: 10 });
    const requests = ['ann', 'bob'].map((userId) => ({ ticketId: uuidv7(), userId }));
    await admit(database, saleId, requests);
    const outbox = new Outbox('sluice_flash_sale');
    const acceptance = createTicketAcceptance({ database, outbox, resendAfterMs: 60_000, log });
    await Promise.all(requests.map(({ ticketId }) => acceptance.accept(ticketId)));
    return { saleId, tickets: requests };
  }

  type Ticket = { readonly ticketId: string; readonly userId: string };
  const placed = { currency: 'GBP', total: 100, itemCount: 1 };
  const event = <T extends 'order.placed' | 'order.cancelled'>(type: T, data: EventData<T>) =>
    ({ type, subject: data.orderId, data }) as unknown as Event<T>;
  const soldTo = (ticket: Ticket) => event('order.placed', { ...ticket, orderId: uuidv7(), ...placed });
  const cancelledBy = (ticket: Ticket) => event('order.cancelled', { ...ticket, orderId: uuidv7() });

  /** A transaction of the inbox with these events, which is not retried. */
  async function handle(events: readonly Event[]): Promise<void> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    cleanUps.push(() => client.end());
    const run = (text: string, params?: readonly unknown[]) => client.query(text, params ? [...params] : undefined);
    const tx = {
      query: async (text: string, params?: readonly unknown[]) => (await run(text, params)).rows,
      execute: async (text: string, params?: readonly unknown[]) => (await run(text, params)).rowCount ?? 0,
      afterCommit: () => undefined,
    } as unknown as Transaction;
    await client.query('BEGIN');
    for (const [handler, its] of groupBy(events, ({ type }) => service.handlers[type])) await handler?.handle(tx, its);
    await client.query('COMMIT');
  }

  test('one sells at one sale and releases at another, and the other one does the reverse', async () => {
    const [one, other] = [await sell(), await sell()];
    const [[annAtOne, bobAtOne], [annAtOther, bobAtOther]] = [one.tickets, other.tickets] as unknown as Ticket[][] as [
      [Ticket, Ticket],
      [Ticket, Ticket],
    ];
    await database.script(`CREATE TRIGGER dawdle AFTER UPDATE ON sluice_flash_sale.sales
      FOR EACH ROW EXECUTE FUNCTION dawdle()`);
    await Promise.all([
      handle([soldTo(annAtOne), cancelledBy(annAtOther)]),
      handle([soldTo(bobAtOther), cancelledBy(bobAtOne)]),
    ]);
    for (const { saleId } of [one, other]) {
      expect(await findSale(database, saleId)).toMatchObject({
        stock: { remaining: 9, held: 0, sold: 1 },
        counts: { admitted: 2, ordered: 1, released: 1 },
      });
    }
  });
});
