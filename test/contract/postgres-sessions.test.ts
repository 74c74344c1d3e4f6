// Sessions on PostgreSQL are the same, however the database, the role, the URL or a pooler sets them.
import { createHash, randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { type Database, DatabaseUnavailable, UnsuitableDatabase } from '../../infra/database/port.ts';
import { openPostgres } from '../../infra/database/postgres.ts';
import { withDatabase } from '../../infra/database/postgres-url.ts';
import { hasPgbouncer, startPgbouncer } from '../servers/pgbouncer.ts';
import { type FreshDatabase, freshDatabase, runOn } from '../setup/postgres.ts';
import { alterAll, unusualSettings, withOptions } from '../setup/postgres-settings.ts';
import { eventually } from '../setup/wait.ts';

const log = pino({ level: 'silent' });
const { databaseUrl } = inject('servers');
const serverUrl = String(databaseUrl);
const withPgbouncer = await hasPgbouncer();

describe.runIf(databaseUrl)('a session', () => {
  let usual: FreshDatabase;
  /** Its sessions have the unusual settings. */
  let unusual: FreshDatabase;
  const role = `test_${randomUUID().replaceAll('-', '')}`;
  const nameOf = ({ url }: FreshDatabase) => new URL(url).pathname.slice(1);
  beforeAll(async () => {
    usual = await freshDatabase(serverUrl);
    unusual = await freshDatabase(serverUrl);
    await administer(alterAll(`DATABASE ${nameOf(unusual)}`));
    await administer(`CREATE ROLE ${role} LOGIN; ${alterAll(`ROLE ${role}`)}`);
  });
  afterAll(async () => {
    await Promise.all([usual.drop(), unusual.drop()]);
    await administer(`DROP ROLE ${role}`);
  });

  const asRole = (url: string) => Object.assign(new URL(url), { username: role }).href;

  test.each([
    ['by the database', () => unusual.url],
    ['by the role', () => asRole(usual.url)],
    ['by the URL', () => withOptions(usual.url)],
  ])('set up %s has the settings that the code needs', async (_by, url) => {
    const expected = await settingsOf(open(usual.url));
    const database = open(url());
    expect(await settingsOf(database)).toEqual(expected);
    await expectExactValues(database);
  });

  test.each(Object.entries(unusualSettings))('is not changed by %s=%s in the URL', async (name, value) => {
    const expected = await settingsOf(open(usual.url), [name]);
    const url = withOptions(usual.url, { [name]: value });
    expect(await settingsOf(open(url), [name])).toEqual(expected);
  });

  test('commits to disk unless its settings require more', async () => {
    const commitOf = async (value: string) => {
      const found = await settingsOf(open(withOptions(usual.url, { synchronous_commit: value })), [
        'synchronous_commit',
      ]);
      return found.synchronous_commit;
    };
    expect(await commitOf('off')).toBe('on');
    expect(await commitOf('remote_apply')).toBe('remote_apply');
  });

  test('keeps the role that its settings name', async () => {
    const other = `test_${randomUUID().replaceAll('-', '')}`;
    await administer(`CREATE ROLE ${other}`);
    onTestFinished(() => administer(`DROP ROLE ${other}`));
    const database = open(withOptions(usual.url, { role: other }));
    expect(await database.query('SELECT current_user::text AS role')).toEqual([{ role: other }]);
  });

  test.each([
    ['default_transaction_read_only', 'on', 'it is read-only: default_transaction_read_only must be off'],
    ['work_mem', 'much', 'it rejects the options of the URL: invalid value for parameter "work_mem": "much"'],
    ['wrok_mem', '8MB', 'it rejects the options of the URL: unrecognized configuration parameter "wrok_mem"'],
  ])('with %s=%s is rejected', async (name, value, problem) => {
    await expectUnsuitable(open(withOptions(usual.url, { [name]: value })), problem);
  });

  test.each(['LATIN1', 'SQL_ASCII'])('of a database with the encoding %s is rejected', async (encoding) => {
    const name = `test_${randomUUID().replaceAll('-', '')}`;
    await administer(`CREATE DATABASE ${name} ENCODING '${encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'`);
    onTestFinished(() => administer(`DROP DATABASE ${name} WITH (FORCE)`));
    const url = Object.assign(new URL(serverUrl), { pathname: `/${name}` }).href;
    await expectUnsuitable(open(url), `its encoding is ${encoding}`);
  });

  describe.runIf(withPgbouncer)('through PgBouncer', () => {
    const through = async (url: string, ...settings: string[]) => {
      const pgbouncer = await startPgbouncer(url, settings);
      onTestFinished(() => pgbouncer.stop());
      return pgbouncer.url;
    };

    test.each([
      ['', () => unusual.url, []],
      [' as an unusual role', () => asRole(usual.url), []],
      [' with two connections', () => unusual.url, ['default_pool_size = 2']],
    ])('with session pooling%s is set up as without it', async (_how, url, settings) => {
      const database = open(await through(url(), 'pool_mode = session', ...settings));
      expect(await settingsOf(database)).toEqual(await settingsOf(open(usual.url)));
      await expectExactValues(database);
      const lock = await database.tryLock('through');
      expect(lock).toBeDefined();
      await lock?.release();
    });

    test('keeps nothing of the session that PgBouncer reuses without a reset', async () => {
      const url = await through(usual.url, 'pool_mode = session', 'server_reset_query =', 'default_pool_size = 2');
      const former = await Promise.all([url, url].map(connected));
      for (const client of former) {
        await client.query({ name: statementName, text: "SELECT 'former' AS text" });
        await client.query(`SET ROLE ${role}; SET DateStyle TO 'SQL, DMY'; SET search_path TO nowhere;
          SELECT pg_advisory_lock_shared(hashtextextended('through', 0))`);
      }
      await Promise.all(former.map((client) => client.end()));
      const database = open(url);
      expect(await settingsOf(database)).toEqual(await settingsOf(open(usual.url)));
      expect(await database.query(statementText)).toEqual([{ text: 'new' }]);
      expect(await database.query('SELECT current_user::text AS role')).toEqual([
        { role: new URL(usual.url).username },
      ]);
      // On its second connection, which PgBouncer reuses as well.
      const lock = await database.tryLock('through');
      expect(lock).toBeDefined();
      await lock?.release();
    });

    test.each([
      ['transaction', []],
      ['transaction', ['default_pool_size = 1']],
      ['transaction', ['server_round_robin = 1']],
      ['transaction', ['ignore_startup_parameters = extra_float_digits,options']],
      ['statement', []],
    ])('with %s pooling is rejected (%j), and PgBouncer keeps none of its settings', async (mode, settings) => {
      const url = await through(usual.url, `pool_mode = ${mode}`, ...settings);
      // Several connections to the server stay open for others.
      const others = await Promise.all(Array.from({ length: settings.length === 1 ? 1 : 4 }, () => connected(url)));
      await Promise.all(others.map((client) => client.query('SELECT pg_sleep(0.05)')));
      await expectUnsuitable(open(url), 'a pooler shares its sessions between clients');
      for (const client of others) {
        const { rows } = await client.query('SHOW search_path');
        expect(rows).toEqual([{ search_path: '"$user", public' }]);
      }
    });

    test('has the options of the URL, which PgBouncer does not pass on', async () => {
      const url = await through(usual.url, 'pool_mode = session');
      const database = open(withOptions(url, { work_mem: '8MB', ...unusualSettings }));
      expect(await settingsOf(database)).toEqual(await settingsOf(open(usual.url)));
      expect(await settingsOf(database, ['work_mem'])).toEqual({ work_mem: '8MB' });
    });

    test('is not severed by a stop while its statements end, although PgBouncer has no connection to spare', async () => {
      const database = open(await through(usual.url, 'pool_mode = session', 'default_pool_size = 2'));
      await database.query('SELECT 1'); // its session is checked with a second connection
      const longerThanAProbe = () =>
        database.transaction(async (tx) => {
          for (let turn = 0; turn < 6; turn++) await tx.query('SELECT pg_sleep(0.4)');
        });
      const running = [longerThanAProbe(), longerThanAProbe()];
      await new Promise((resolve) => setTimeout(resolve, 400)); // both are connected
      database.interrupt();
      await Promise.all(running);
    });

    test('is replaced after PgBouncer was away', async () => {
      const pgbouncer = await startPgbouncer(usual.url, ['pool_mode = session']);
      onTestFinished(() => pgbouncer.stop());
      const database = open(pgbouncer.url);
      await database.query('SELECT 1');
      await pgbouncer.kill();
      await expect(database.query('SELECT 1')).rejects.toBeInstanceOf(DatabaseUnavailable);
      await pgbouncer.restart();
      await eventually(() => database.query('SELECT 1'), { what: 'PgBouncer is back' });
    });
  });

  test('is on the first host that responds', async () => {
    const { host, port } = new URL(usual.url);
    const away = '127.0.0.1:1';
    const listing = (...hosts: string[]) => usual.url.replace(host, hosts.join(','));
    const query = `?target_session_attrs=read-write`;
    for (const url of [listing(away, host), listing(host, away), listing(away, away, host) + query]) {
      const [row] = await open(url).query<{ port: string }>("SELECT current_setting('port') AS port");
      expect(row?.port).toBe(port);
    }
    await expect(open(listing(away, away)).query('SELECT 1')).rejects.toThrow(
      /127\.0\.0\.1:1: .*ECONNREFUSED.*; 127\.0\.0\.1:1: .*ECONNREFUSED/,
    );
    const missing = open(withDatabase(listing(host, host), 'missing')).query('SELECT 1');
    await expect(missing).rejects.toMatchObject({ cause: { errors: [{ code: '3D000' }, { code: '3D000' }] } });
  });
});

/** A statement of the code, and the name under which pg prepares it. */
const statementText = "SELECT 'new' AS text";
const statementName = createHash('sha1').update(statementText).digest('hex');

function open(url: string): Database {
  const database = openPostgres({ url, poolSize: 2, log });
  onTestFinished(() => database.close());
  return database;
}

async function connected(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined); // its server may end before it
  await client.connect();
  onTestFinished(() => client.end().catch(() => undefined));
  return client;
}

const administer = (sql: string) => runOn(serverUrl, sql);

async function settingsOf(database: Database, names = Object.keys(unusualSettings)): Promise<Record<string, string>> {
  const rows = await database.query<{ name: string; value: string }>(
    'SELECT name, current_setting(name) AS value FROM unnest($1::text[]) AS name',
    [names],
  );
  return Object.fromEntries(rows.map(({ name, value }) => [name, value]));
}

async function expectExactValues(database: Database): Promise<void> {
  const at = new Date('2026-03-04T05:06:07.089Z');
  const values = ['a', null, 'Ω\\'];
  const [row] = await database.query(
    String.raw`SELECT $1::timestamptz AS at, $2::text[] AS values, 0.1::float8 + 0.2::float8 AS sum, '\d'::text AS text,
      '\x00ff'::bytea AS bytes, interval '1 day 2 hours'::text AS interval`,
    [at, values],
  );
  expect(row).toEqual({
    at,
    values,
    sum: 0.1 + 0.2,
    text: String.raw`\d`,
    bytes: Buffer.from([0, 255]),
    interval: '1 day 02:00:00',
  });
  await database.transaction(async (tx) => {
    expect(await tx.query('SHOW transaction_isolation')).toEqual([{ transaction_isolation: 'read committed' }]);
    await tx.query('SELECT pg_sleep(0.4)'); // longer than the unusual statement_timeout
  });
}

async function expectUnsuitable(database: Database, problem: string): Promise<void> {
  const error = await database.query('SELECT 1').catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(DatabaseUnavailable);
  const { cause } = error as DatabaseUnavailable;
  expect(cause).toBeInstanceOf(UnsuitableDatabase);
  expect((cause as Error).message).toContain(problem);
}
