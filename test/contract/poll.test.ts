// Polls of the embedded database: few while it is idle, and none too few when a row changes or becomes due.
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { parseConfig } from '../../app/config.ts';
import { openResources } from '../../app/resources.ts';
import { startServices } from '../../app/start-services.ts';
import { eventSchemas } from '../../contracts/events.ts';
import { serviceNames } from '../../contracts/services.ts';
import { openPglite } from '../../infra/database/pglite.ts';
import { Poll } from '../../infra/database/poll.ts';
import type { Database } from '../../infra/database/port.ts';
import { openPostgres } from '../../infra/database/postgres.ts';
import { readMessage } from '../../infra/messaging/envelope.ts';
import { InboxStore } from '../../infra/messaging/inbox-store.ts';
import { NEW_EVENTS } from '../../infra/messaging/outbox.ts';
import { Metrics } from '../../infra/observability/metrics.ts';
import { Shutdown } from '../../infra/runtime/shutdown.ts';
import { NEXT_OPENING } from '../../services/flash-sale/store/queue.ts';
import { insertSale, msUntilOpening } from '../../services/flash-sale/store/sales.ts';
import { RESEND_OVERDUE } from '../../services/flash-sale/store/tickets.ts';
import { NEXT_EXPIRY, RESEND_CANCELLED, RESEND_PLACED } from '../../services/order/store/orders.ts';
import { NEXT_PAYMENT } from '../../services/order/store/payments.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { createTables } from '../setup/group-consumer.ts';
import { createInbox } from '../setup/inbox.ts';
import { placed } from '../setup/outgoing-events.ts';
import { startRelay } from '../setup/relay.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const { databaseUrl } = inject('servers');
const log = pino({ level: 'silent' });

describe('a poll of PGlite', () => {
  let folder: string;
  let database: Database;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-poll-'));
    database = await openPglite({ dataDir: folder });
    await database.script(`
      CREATE TABLE entries (id text PRIMARY KEY, due_at timestamptz);
      CREATE FUNCTION add(id text) RETURNS text LANGUAGE sql AS 'INSERT INTO entries VALUES ($1) RETURNING id';
    `);
  });
  afterAll(async () => {
    await database.close();
    await rm(folder, { recursive: true });
  });

  /** A poll that has run until it is skipped, and a function that tells whether it runs now. */
  async function skippedPoll(nextDue?: string) {
    const poll = new Poll({ database, ...(nextDue ? { nextDue } : {}) });
    const runs = async (options = {}) => {
      let ran = false;
      await poll.run(async () => {
        ran = true;
        await database.query('SELECT FROM entries');
      }, options);
      return ran;
    };
    expect(await runs()).toBe(true);
    expect(await runs()).toBe(false);
    return { poll, runs };
  }

  test('is skipped after statements that only read rows', async () => {
    const { runs } = await skippedPoll();
    await database.query('SELECT count(*) FROM entries');
    await database.execute("DELETE FROM entries WHERE id = 'none'");
    expect(await runs()).toBe(false);
  });

  test.each([
    ['a statement', () => database.execute('INSERT INTO entries VALUES ($1)', [uuidv7()])],
    ['a transaction', () => database.transaction((tx) => tx.execute('INSERT INTO entries VALUES ($1)', [uuidv7()]))],
    ['a function', () => database.query('SELECT add($1)', [uuidv7()])],
    [
      'a part of a query',
      () => database.query('WITH added AS (INSERT INTO entries VALUES ($1)) SELECT 1 AS one', [uuidv7()]),
    ],
    ['a script', () => database.script(`INSERT INTO entries VALUES ('${uuidv7()}')`)],
  ])('runs after %s changed a row', async (_how, change) => {
    const { runs } = await skippedPoll();
    await change();
    expect(await runs()).toBe(true);
    expect(await runs()).toBe(false);
  });

  test('runs if it is told to', async () => {
    const { runs } = await skippedPoll();
    expect(await runs({ always: true })).toBe(true);
  });

  test.each([
    ['failed', () => Promise.reject(new Error('no luck'))],
    ['returned true', async () => true],
  ])('runs again after it %s', async (_what, poll) => {
    const skipped = await skippedPoll();
    await database.execute('INSERT INTO entries VALUES ($1)', [uuidv7()]);
    await skipped.poll.run(poll).catch(() => undefined);
    expect(await skipped.runs()).toBe(true);
    expect(await skipped.runs()).toBe(false);
  });

  test('runs once a row is due, and until it is handled', async () => {
    const dueInMs = 300;
    await database.execute(`UPDATE entries SET due_at = NULL`);
    const insertedAt = Date.now(); // now() in the statement is not earlier
    await database.execute("INSERT INTO entries VALUES ($1, now() + $2::integer * interval '1 ms')", [
      uuidv7(),
      dueInMs,
    ]);
    const { runs } = await skippedPoll('SELECT min(due_at) AS due FROM entries');
    while (!(await runs())) await delay(5);
    expect(Date.now() - insertedAt).toBeGreaterThanOrEqual(dueInMs - 20);
    expect(await runs()).toBe(true);
    await database.execute('UPDATE entries SET due_at = NULL');
    expect(await runs()).toBe(true);
    expect(await runs()).toBe(false);
  });
});

test.runIf(databaseUrl)('a poll of PostgreSQL is never skipped', async () => {
  const database = openPostgres({ url: String(databaseUrl), poolSize: 1, log });
  cleanUps.push(() => database.close());
  const poll = new Poll({ database });
  let polls = 0;
  for (let i = 0; i < 3; i++) await poll.run(async () => ++polls);
  expect(polls).toBe(3);
});

describe('an idle embedded system', () => {
  let folder: string;
  let database: Database;
  const shutdown = new Shutdown(log);
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-idle-'));
    const config = parseConfig({ DATA_DIR: folder, MQTT_PORT: '0', BUS_PREFIX: freshPrefix() });
    const resources = await openResources(config, log);
    shutdown.add(() => resources.close());
    const { signal } = new AbortController();
    const metrics = new Metrics({ process: false });
    const roles = ['worker'] as const;
    await startServices({ config, services: serviceNames, roles, resources, metrics, log, signal, shutdown });
    database = resources.database;
  }, 60_000);
  afterAll(async () => {
    await shutdown.run();
    await rm(folder, { recursive: true });
  });

  test('runs few statements', async () => {
    const inTwoSeconds = async () => {
      const before = await transactions();
      await delay(2_000);
      return (await transactions()) - before;
    };
    // Every five seconds, the watchdogs of five services count their rows. Without sparing: 86.
    await eventually(async () => (await inTwoSeconds()) < 20, { what: 'fewer than 20 statements in two seconds' });
  });

  /** Statements of this session: each is a transaction. */
  async function transactions(): Promise<number> {
    await database.query('SELECT pg_stat_force_next_flush()');
    const [row] = await database.query<{ commits: number }>(
      'SELECT xact_commit AS commits FROM pg_stat_database WHERE datname = current_database()',
    );
    return row?.commits ?? 0;
  }

  /** Without an index, a query for the next due time would read all orders ever placed. */
  test.each([
    ['an order that expires', NEXT_EXPIRY, 'progress_expiring'],
    ['a payment', NEXT_PAYMENT, 'progress_paying'],
    ['a refund', NEXT_PAYMENT, 'progress_refunds'],
    ['a request to place an order', RESEND_PLACED.nextDue, 'progress_open'],
    ['a request to revert an order', RESEND_CANCELLED.nextDue, 'progress_open'],
    ['a request of a ticket', RESEND_OVERDUE.nextDue, 'tickets_awaiting_order'],
    ['a message', new InboxStore('sluice_order').nextDue, 'inbox_due'],
    ['an unfinished message', new InboxStore('sluice_order').nextUnfinished, 'inbox_due'],
  ])('finds the next due time of %s by an index', async (_what, nextDue, index) => {
    const plan = await database.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${nextDue}`);
    expect(plan.map((line) => line['QUERY PLAN']).join('\n')).toContain(index);
  });

  test('finds the opening of a sale, and an open sale at once', async () => {
    const sale = { sku: 'LAMP', name: 'Lamp', unitPrice: 100, currency: 'GBP', stock: 1, queueCap: 1, holdSeconds: 0 };
    const opensAt = new Date(Date.now() + 3_600_000);
    const found: unknown[] = [];
    const undone = database.transaction(async (tx) => {
      found.push(await tx.query(NEXT_OPENING));
      expect(await msUntilOpening(tx, 0)).toBeUndefined();
      await insertSale(tx, uuidv7(), { ...sale, drainPerSecond: 1, opensAt: opensAt.toISOString() });
      found.push(await tx.query(NEXT_OPENING));
      expect(await msUntilOpening(tx, 10_000)).toBeCloseTo(opensAt.getTime() - Date.now(), -4);
      expect(await msUntilOpening(tx, 3_600_000)).toBeUndefined();
      await insertSale(tx, uuidv7(), { ...sale, drainPerSecond: 1 });
      found.push(await tx.query(`${NEXT_OPENING}, now() AS now`));
      throw new Error('rolled back');
    });
    await expect(undone).rejects.toThrow('rolled back');
    const now = expect.any(Date);
    const opensJobQueueAt = new Date(opensAt.getTime() - 2_000);
    expect(found).toEqual([[{ due: null }], [{ due: opensJobQueueAt }], [{ due: now, now }]]);
    const [{ due, now: moment }] = found[2] as [{ due: Date; now: Date }];
    expect(due).toEqual(moment);
  });

  // The longest time between two polls is 30 s, and the deadlines are shorter: only the due time can run these polls.
  describe('polls when a row becomes due', () => {
    const dueInMs = 2_000;
    let schema: string;
    beforeEach(async () => {
      schema = `m_${randomUUID().replaceAll('-', '')}`;
      await createTables(database, { name: 'points', schema });
    });

    function startInbox(prepare: () => Promise<void>) {
      const outcomes: string[] = [];
      const inbox = createInbox(database, schema, {
        handlers: { 'order.placed': { prepare, handle: async () => undefined } },
        attempts: 3,
        retryBaseMs: dueInMs,
        retryMaxMs: dueInMs,
        pollMs: 50,
        onOutcome: (_type, outcome) => outcomes.push(outcome),
      });
      inbox.start();
      cleanUps.push(() => inbox.stop());
      return { inbox, outcomes };
    }

    test('a message to be retried', async () => {
      let attempts = 0;
      const { inbox, outcomes } = startInbox(async () => {
        if (++attempts === 1) throw new Error('no luck');
      });
      await inbox.process([{ body: placed(uuidv7()) }]);
      await eventually(() => outcomes.includes('done'), { what: 'the message is retried' });
      expect(outcomes).toEqual(['retrying', 'done']);
    });

    test('a message whose process ended during an attempt', async () => {
      const message = readMessage(eventSchemas, placed(uuidv7()));
      await new InboxStore(schema).add(database, [message], dueInMs);
      const { outcomes } = startInbox(async () => undefined);
      await eventually(() => outcomes.includes('done'), { what: 'the message is claimed' });
    });

    test('an event that the broker rejected', async () => {
      let published = 0;
      const { outbox } = startRelay({
        database,
        schema,
        publish: async ([row]) => (++published === 1 && row ? [{ row, error: 'rejected', transportDown: false }] : []),
      });
      const event = { id: uuidv7(), type: 'points.awarded', subject: uuidv7(), time: new Date(), data: {} };
      await outbox.write(database, NEW_EVENTS, [event]);
      await eventually(() => published === 2, { what: 'the event is published again' });
      const rows = () => database.query(`SELECT FROM ${schema}.outbox`);
      await eventually(async () => (await rows()).length === 0, { what: 'its row is deleted' });
    });
  });
});
