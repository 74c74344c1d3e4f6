// The cap as a constraint on the sale's row in PostgreSQL: the product's own admission, as it stands in the flash-sale
// service. Every decision is a commit.
import pino from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { GroupCommit } from '../../infra/database/group-commit.ts';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import type { Database } from '../../infra/database/port.ts';
import { openPostgres } from '../../infra/database/postgres.ts';
import { Outbox } from '../../infra/messaging/outbox.ts';
import { SaleAdmission } from '../../services/flash-sale/sale-admission.ts';
import { enqueue } from '../../services/flash-sale/store/queue.ts';
import { admit, type Decision, findSale, insertSale } from '../../services/flash-sale/store/sales.ts';
import { ACCEPT_TICKETS } from '../../services/flash-sale/store/tickets.ts';
import { using } from '../using.ts';
import type { Sale, Strategy } from './strategy.ts';

const SCHEMA = 'sluice_flash_sale';
const MESSAGING = new URL('../../infra/messaging/migrations/', import.meta.url);
const FLASH_SALE = new URL('../../services/flash-sale/store/migrations/', import.meta.url);

/** Connections of one gateway: the service's default. */
const POOL_SIZE = 10;

const log = pino({ level: 'silent' });
const open = (url: string) => openPostgres({ url, poolSize: POOL_SIZE, log });

const withDatabase = <T>(url: string, work: (database: Database) => Promise<T>): Promise<T> =>
  using(open(url), (database) => database.close(), work);

const openSale = (url: string, { id, stock, cap }: Sale) =>
  withDatabase(url, async (database) => {
    await migrate(database, SCHEMA, [
      ...(await readMigrations(MESSAGING, 'messaging')),
      ...(await readMigrations(FLASH_SALE, 'flash-sale')),
    ]);
    await insertSale(database, id, {
      sku: 'sku',
      name: 'name',
      unitPrice: 100,
      currency: 'GBP',
      drainPerSecond: 100,
      holdSeconds: 0,
      stock,
      queueCap: cap,
    });
  });

const queued = (url: string, { id }: Sale) =>
  withDatabase(url, async (database) => (await findSale(database, id))?.queue.length ?? Number.NaN);

/** As in each flash-sale process, but without the snapshot in front, which only rejects. */
export const row: Strategy = {
  open: openSale,
  async connect(url, { id }) {
    const database = open(url);
    const admission = new SaleAdmission({ database, onAdmitted: () => {}, onDecision: () => {}, log });
    admission.start();
    return {
      decide: async (userId) => (await admission.decide({ saleId: id, userId, request: {} }))?.outcome === 'admitted',
      async close() {
        await admission.stop();
        await database.close();
      },
    };
  },
  queued,
};

/** Without group commit, for comparison: a transaction for each request, one after the other in each gateway. */
export const rowOneByOne: Strategy = {
  open: openSale,
  async connect(url, { id }) {
    const database = open(url);
    const commits = new GroupCommit<string, Decision | undefined>({
      run: (buyers) =>
        admit(
          database,
          id,
          buyers.map((userId) => ({ ticketId: uuidv7(), userId })),
        ),
      key: () => '',
      maxBatch: 1,
      maxWaiting: 5_000,
    });
    return {
      decide: async (buyer) => (await commits.submit(buyer))?.outcome === 'admitted',
      close: () => database.close(),
    };
  },
  queued,
};

/** The tickets of a sale, counted independently of its totals. */
export const countTickets = (url: string, { id }: Sale): Promise<number> =>
  withDatabase(url, async (database) => {
    const [count] = await database.query<{ tickets: number }>(
      `SELECT count(*) AS tickets FROM ${SCHEMA}.tickets WHERE sale_id = $1`,
      [id],
    );
    return count?.tickets ?? Number.NaN;
  });

/** Lets the tickets out of the queue, found as the service finds them for its jobs; resolves with their number. */
export const completeTickets = (url: string, { id, cap }: Sale): Promise<number> =>
  withDatabase(url, async (database) => {
    const ticketIds = await enqueue(database, id, { headCount: cap, forMs: 60_000 });
    const jobs = ticketIds.map((ticketId) => ({ ticketId, eventId: uuidv7() }));
    const { length } = await new Outbox(SCHEMA).write(database, ACCEPT_TICKETS, jobs, 60_000);
    return length;
  });

export const postgresVersion = (url: string): Promise<string> =>
  withDatabase(url, async (database) => {
    const [row] = await database.query<{ server_version: string }>('SHOW server_version');
    return `PostgreSQL ${row?.server_version.split(' ')[0]}`;
  });
