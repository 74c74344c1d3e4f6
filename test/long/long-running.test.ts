// Long-running statements: migrations, waiting for their lock, pruning, counting. The timeouts of client and server are
// shorter here than each of them takes.
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { type Logger, pino } from 'pino';
import { beforeEach, describe, expect, inject, test } from 'vitest';
import { serveAudit } from '../../app/admin/audit.ts';
import type { ServiceName } from '../../contracts/services.ts';
import { type Migration, migrate, readMigrations } from '../../infra/database/migrate.ts';
import { openPglite } from '../../infra/database/pglite.ts';
import { type Database, DatabaseUnavailable } from '../../infra/database/port.ts';
import { openPostgres } from '../../infra/database/postgres.ts';
import { MAX_COUNT } from '../../infra/database/sql.ts';
import { createApp } from '../../infra/http/app.ts';
import { listen } from '../../infra/http/server.ts';
import { FailedMessages } from '../../infra/messaging/failed-messages.ts';
import type { Inbox } from '../../infra/messaging/inbox.ts';
import { InboxStore } from '../../infra/messaging/inbox-store.ts';
import { Outbox } from '../../infra/messaging/outbox.ts';
import { messagesByPlace, type Place, placesOf } from '../../infra/messaging/stored-messages.ts';
import type { AnyService } from '../../infra/runtime/service.ts';
import { saleFacts } from '../../services/flash-sale/store/facts.ts';
import { call } from '../setup/api.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { createAdminTables, retryFailed } from '../setup/failed.ts';
import { createInbox } from '../setup/inbox.ts';
import { freshDatabase } from '../setup/postgres.ts';
import { startProxy } from '../setup/proxy.ts';
import { openOnPostgres } from '../setup/queues.ts';
import { eventually } from '../setup/wait.ts';

const { databaseUrl } = inject('servers');
const MESSAGING = new URL('../../infra/messaging/migrations/', import.meta.url);
const FLASH_SALE = new URL('../../services/flash-sale/store/migrations/', import.meta.url);
/** Timeout of the client and of the server. */
const TIMEOUT_MS = 300;
const LONGER_MS = 4 * TIMEOUT_MS;

const sleeping = (seconds: number): Migration => ({
  name: 'slow/001.sql',
  sql: `CREATE TABLE after_a_while (id int8); SELECT pg_sleep(${seconds});`,
});

/** A log that records its lines. */
function listeningLog() {
  const lines: Record<string, unknown>[] = [];
  const log: Logger = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  return { log, lines };
}

describe.runIf(databaseUrl)('on PostgreSQL', () => {
  let url: string;
  let database: Database;
  /** Another session, without timeouts. */
  let other: Client;
  beforeEach(async () => {
    const fresh = await freshDatabase(String(databaseUrl));
    cleanUps.push(fresh.drop);
    url = fresh.url;
    other = new Client({ connectionString: url });
    await other.connect();
    cleanUps.push(() => other.end());
    const name = new URL(url).pathname.slice(1);
    await other.query(`ALTER DATABASE ${name} SET statement_timeout = ${TIMEOUT_MS}`);
    database = open(url);
  });

  function open(at: string): Database {
    const opened = openPostgres({ url: at, poolSize: 2, log: pino({ level: 'silent' }), queryTimeoutMs: TIMEOUT_MS });
    cleanUps.push(() => opened.close());
    return opened;
  }

  const hold = (lock: string) => other.query(`SELECT pg_advisory_lock(${lock})`);
  const release = () => other.query('SELECT pg_advisory_unlock_all()');
  const migrationLock = "hashtextextended('sluice migrations', 0)";
  /** Number of other sessions that run a statement or have an open transaction. */
  const atWork = async () =>
    (
      await other.query(
        `SELECT FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'`,
      )
    ).rowCount;

  test('a migration may exceed the statement timeout, and the log names the running one', async () => {
    const { log, lines } = listeningLog();
    await migrate(database, 'slow', [sleeping(LONGER_MS / 1_000)], log);
    expect((await other.query('SELECT FROM slow.after_a_while')).rowCount).toBe(0);
    const running = { schema: 'slow', migration: 'slow/001.sql', msg: 'a migration is still running' };
    expect(lines).toContainEqual(expect.objectContaining(running));
  });

  test('a migration of an existing schema is logged before it runs', async () => {
    const { log, lines } = listeningLog();
    await migrate(database, 'grown', [{ name: 'a/001.sql', sql: 'CREATE TABLE things (id int8)' }], log);
    expect(lines).toEqual([]);
    await migrate(database, 'grown', [{ name: 'a/002.sql', sql: 'CREATE INDEX ON things (id)' }], log);
    expect(lines).toEqual([expect.objectContaining({ schema: 'grown', migration: 'a/002.sql', msg: 'migrating' })]);
  });

  test('a process waits for the migration lock while another one holds it, and logs that', async () => {
    const { log, lines } = listeningLog();
    await hold(migrationLock);
    const migrating = migrate(database, 'waiting', [sleeping(0)], log);
    await eventually(() => lines.length > 0, { what: 'the wait is logged' });
    const message = 'waiting to migrate: another process holds the migration lock';
    expect(lines).toEqual([expect.objectContaining({ schema: 'waiting', msg: message })]);
    await release();
    await migrating;
    expect((await other.query('SELECT FROM waiting.after_a_while')).rowCount).toBe(0);
  });

  test('a stop rolls a running migration back at once and ends its statement on the server', async () => {
    const migrating = migrate(database, 'stopped', [sleeping(600)]);
    const ended = migrating.catch((error) => error);
    await eventually(async () => (await atWork()) === 1, { what: 'it runs' });
    const startedAt = performance.now();
    database.interrupt();
    expect(await ended).toBeInstanceOf(DatabaseUnavailable);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    await eventually(async () => (await atWork()) === 0, { what: 'the server has ended it', timeoutMs: 5_000 });
    await expect(migrate(database, 'stopped', [])).rejects.toBeInstanceOf(DatabaseUnavailable);
    await migrate(open(url), 'stopped', [sleeping(0)]);
    expect((await other.query('SELECT name FROM stopped.migrations')).rowCount).toBe(1);
  });

  test('a stop ends the wait for the migration lock at once', async () => {
    await hold(migrationLock);
    const ended = migrate(database, 'stopped', [sleeping(0)]).catch((error) => error);
    await eventually(async () => (await atWork()) === 1, { what: 'it waits' });
    const startedAt = performance.now();
    database.interrupt();
    expect(await ended).toBeInstanceOf(DatabaseUnavailable);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  test('a dead connection during a migration is distinguished from a slow statement', async () => {
    const proxy = await startProxy(url);
    cleanUps.push(() => proxy.close());
    const through = new URL(url);
    through.host = `127.0.0.1:${proxy.port}`;
    const ended = migrate(open(through.href), 'silent', [sleeping(1)]).catch((error) => error);
    await eventually(async () => (await atWork()) === 1, { what: 'it runs' });
    proxy.swallow(true);
    expect(await ended).toBeInstanceOf(DatabaseUnavailable);
    proxy.sever();
  });

  test("BullMQ's migrations may exceed the statement timeout", async () => {
    await hold("x'42554c4c'::int, hashtext('bullmq')");
    const opening = openOnPostgres(url);
    await delay(LONGER_MS);
    await release();
    expect((await opening).health().status).toBe('up');
  });

  describe('with the tables of messaging', () => {
    const outbox = new Outbox('ours');
    let inbox: Inbox;
    beforeEach(async () => {
      await migrate(database, 'ours', await readMigrations(MESSAGING, 'messaging'));
      inbox = createInbox(database, 'ours', { prefetch: 1, maxRows: 1, retentionDays: 7 });
    });

    const insert = (status: string, receivedAt: string) =>
      other.query('INSERT INTO ours.inbox (message_id, status, received_at) VALUES ($1, $2, $3)', [
        randomUUID(),
        status,
        receivedAt,
      ]);

    /** Runs `work` while the table is locked for longer than the statement timeout. */
    async function whileLocked<T>(table: string, work: () => Promise<T>): Promise<T> {
      await other.query(`BEGIN; LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
      const working = work();
      working.catch(() => undefined); // awaited below
      await delay(LONGER_MS);
      await other.query('COMMIT');
      return working;
    }

    test('pruning may exceed the statement timeout', async () => {
      await insert('done', '2020-01-01');
      await other.query(`
        CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN PERFORM pg_sleep(${LONGER_MS / 1_000}); RETURN OLD; END';
        CREATE TRIGGER slowly BEFORE DELETE ON ours.inbox FOR EACH ROW EXECUTE FUNCTION slowly();
      `);
      inbox.start();
      cleanUps.push(() => inbox.stop());
      const left = async () => (await other.query('SELECT FROM ours.inbox')).rowCount;
      await eventually(async () => (await left()) === 0, { what: 'the old row is gone' });
    });

    test('listing, counting and retrying failed messages may exceed the statement timeout', async () => {
      await insert('dead', '2026-01-01');
      await createAdminTables(database);
      const failed = new FailedMessages(database, 'ours');
      const none = { error: 'no such error' };
      expect(await whileLocked('ours.inbox', () => failed.list(none, undefined, 10))).toEqual([]);
      expect(await whileLocked('ours.inbox', () => failed.count({}))).toMatchObject({ matching: 1 });
      expect(await whileLocked('ours.inbox', () => retryFailed(failed))).toBe(1);
    });

    test('the counts of an audit may exceed the statement timeout', async () => {
      await migrate(database, 'sluice_order', await readMigrations(MESSAGING, 'messaging'));
      await migrate(database, 'sluice_flash_sale', [
        ...(await readMigrations(MESSAGING, 'messaging')),
        ...(await readMigrations(FLASH_SALE, 'flash-sale')),
      ]);
      const app = createApp(pino({ level: 'silent' }), (api) => {
        const facts = (name: ServiceName, of: AnyService['facts']) =>
          serveAudit(api, { name, service: { facts: of }, database, outbox });
        facts('order', {});
        facts('flash-sale', { 'flash-sale': saleFacts });
      });
      const server = await listen(app, '127.0.0.1', 0);
      cleanUps.push(() => server.close());
      const statusOf = async (path: string) => (await call(`${server.url}${path}`)).status;
      expect(await whileLocked('sluice_order.outbox', () => statusOf('/audit/order/messages'))).toBe(200);
      expect(await whileLocked('sluice_flash_sale.tickets', () => statusOf('/audit/flash-sale?limit=5'))).toBe(200);
    });

    test('at most a million rows are counted, so that the duration of a count is bounded', async () => {
      await other.query(
        `INSERT INTO ours.outbox (channel, event_id, type, subject, time, data)
         SELECT 'bus', '00000000-0000-0000-0000-000000000000', '', '', now(), '' FROM generate_series(1, $1::int)`,
        [MAX_COUNT + 1],
      );
      await other.query(`
        INSERT INTO ours.inbox (message_id, status)
        SELECT lpad(to_hex(n), 32, '0')::uuid, 'pending' FROM generate_series(1, ${MAX_COUNT + 1}) AS n`);
      const patient = openPostgres({ url, poolSize: 2, log: pino({ level: 'silent' }) });
      cleanUps.push(() => patient.close());
      const places = messagesByPlace(await patient.longRunning.query<Place>(placesOf('ours', MAX_COUNT)));
      expect(places).toMatchObject({ outbox: { bus: { rows: MAX_COUNT } }, inbox: { pending: { rows: MAX_COUNT } } });
      expect(await new InboxStore('ours').countDue(patient.longRunning)).toBe(MAX_COUNT);
    }, 120_000);
  });
});

describe('on PGlite', () => {
  test('a stop rolls a transaction back after its running statement', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'sluice-pglite-'));
    cleanUps.push(() => rm(dataDir, { recursive: true }));
    const database = await openPglite({ dataDir });
    cleanUps.push(() => database.close());
    const migrations = Array.from({ length: 100 }, (_, index) => ({
      name: `slow/${index}.sql`,
      sql: `CREATE TABLE table_${index} AS SELECT n FROM generate_series(1, 100000) AS n`,
    }));
    const ended = migrate(database, 'stopped', migrations).catch((error) => error);
    setTimeout(() => database.interrupt(), 50);
    expect(await ended).toBeInstanceOf(DatabaseUnavailable);
    expect(await database.query("SELECT FROM pg_namespace WHERE nspname = 'stopped'")).toEqual([]);
  });
});
