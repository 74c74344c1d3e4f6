// Whole systems on PostgreSQL as an administrator may have set it up: unusual settings, PgBouncer, roles with few
// rights, a standby. Either the system works, or its start says in one sentence what to change.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { schemaOf } from '../../app/schemas.ts';
import { serviceNames } from '../../contracts/services.ts';
import { serverFolder } from '../../demos/shared/folder.ts';
import { createServiceProcess, type ServiceProcess, sluice } from '../fault/support/service-process.ts';
import { hasPgbouncer, startPgbouncer } from '../servers/pgbouncer.ts';
import { type Postgres, startPostgres, startStandby } from '../servers/postgres.ts';
import { findPrograms } from '../servers/programs.ts';
import { buy, createSale, over, ticketOf } from '../service/support/flash-sales.ts';
import { completed, freshUser, placeOrder } from '../setup/api.ts';
import { freshDatabase } from '../setup/postgres.ts';
import { alterAll, withOptions } from '../setup/postgres-settings.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const run = promisify(execFile);
const ROLES = new URL('../../infra/deploy/postgres-roles.sql', import.meta.url);
const withPgbouncer = await hasPgbouncer();
const isInstalled = await findPrograms('postgres').then(
  ({ kind }) => kind === 'installed',
  () => false,
);

/** A private server, because roles belong to a whole server. */
let server: Postgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server?.stop());

async function administer(sql: string, url = server.url): Promise<object[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows as object[];
  } finally {
    await client.end();
  }
}

/** The URL of a new database, and its name. */
async function newDatabase(): Promise<{ url: string; name: string }> {
  const { url, drop } = await freshDatabase(server.url);
  onTestFinished(drop);
  return { url, name: new URL(url).pathname.slice(1) };
}

const as = (role: string, url: string) => Object.assign(new URL(url), { username: role }).href;

/** The environment of a process on the database of `url`, in a data folder of its own. */
async function environment(url: string) {
  const folder = await serverFolder('settings');
  return { DATABASE_URL: url, DATA_DIR: folder, MQTT_PORT: '0', BUS_PREFIX: freshPrefix() };
}

async function started(url: string, extra: Readonly<Record<string, string>> = {}): Promise<ServiceProcess> {
  const process = await createServiceProcess('settings', sluice(), { ...(await environment(url)), ...extra });
  onTestFinished(() => process.remove());
  await process.start();
  return process;
}

/** Runs a command that must fail. */
async function inVain(command: 'start' | 'migrate', env: Readonly<Record<string, string>>) {
  const [program] = sluice();
  const failed = await run(process.execPath, [String(program), command], {
    cwd: env.DATA_DIR,
    env: { PATH: process.env.PATH, PORT: '0', LOG_LEVEL: 'error', ...env },
    timeout: 60_000,
  }).then(
    () => undefined,
    (error: { code: number; stderr: string }) => error,
  );
  if (!failed) throw new Error(`sluice ${command} succeeded`);
  return { code: failed.code, stderr: failed.stderr };
}

/** One sentence and no stack. */
async function expectRejected(url: string, problem: RegExp, extra: Readonly<Record<string, string>> = {}) {
  const { code, stderr } = await inVain('start', { ...(await environment(url)), ...extra });
  expect(stderr).toMatch(problem);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(stderr).toMatch(/^error: the database at postgres:.* cannot be used: /);
  expect(code).toBe(2);
}

/** An order is completed, and a purchase becomes an order. */
async function expectWorking({ url }: ServiceProcess): Promise<void> {
  await completed(url, (await placeOrder(url, freshUser())).id);
  const sale = await createSale(url, { stock: 3, drainPerSecond: 10 });
  ticketOf(await buy(url, sale.id, freshUser()));
  expect((await over(url, sale.id)).counts).toMatchObject({ admitted: 1, ordered: 1 });
}

describe('unusual settings', () => {
  test('of the database change nothing', async () => {
    const { url, name } = await newDatabase();
    await administer(alterAll(`DATABASE ${name}`));
    await expectWorking(await started(url));
  });

  test('of the role change nothing', async () => {
    const { url, name } = await newDatabase();
    await administer(`CREATE ROLE settings LOGIN; GRANT ALL ON DATABASE ${name} TO settings;`);
    await administer(alterAll('ROLE settings'));
    await expectWorking(await started(as('settings', url)));
  });

  test('in the URL change nothing', async () => {
    const { url } = await newDatabase();
    await expectWorking(await started(withOptions(url)));
  });

  test.runIf(withPgbouncer)(
    'change nothing behind PgBouncer with session pooling and its default settings',
    async () => {
      const { url, name } = await newDatabase();
      await administer(alterAll(`DATABASE ${name}`));
      const pgbouncer = await startPgbouncer(url, ['pool_mode = session']);
      onTestFinished(() => pgbouncer.stop());
      await expectWorking(await started(pgbouncer.url));
    },
  );
});

describe('a start is rejected', () => {
  test.runIf(withPgbouncer)('by PgBouncer with transaction pooling', async () => {
    const { url } = await newDatabase();
    const ignored = 'ignore_startup_parameters = options,idle_in_transaction_session_timeout';
    const pgbouncer = await startPgbouncer(url, ['pool_mode = transaction', ignored]);
    onTestFinished(() => pgbouncer.stop());
    await expectRejected(pgbouncer.url, /transaction or statement pooling.*set pool_mode=session/);
  });

  test('by a database that is not in UTF-8', async () => {
    await administer("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    const url = Object.assign(new URL(server.url), { pathname: '/latin' }).href;
    await expectRejected(url, /its encoding is LATIN1, .*: create a database with ENCODING 'UTF8'/);
  });

  test('by a read-only database, role and URL', async () => {
    const { url, name } = await newDatabase();
    const problem = /it is read-only: default_transaction_read_only must be off/;
    await expectRejected(withOptions(url, { default_transaction_read_only: 'on' }), problem);
    await administer('CREATE ROLE reader LOGIN; ALTER ROLE reader SET default_transaction_read_only TO on');
    await expectRejected(as('reader', url), problem);
    await administer(`ALTER DATABASE ${name} SET default_transaction_read_only TO on`);
    await expectRejected(url, problem);
  });

  test('by a missing database and an unknown role', async () => {
    const { url } = await newDatabase();
    await expectRejected(`${url}x`, /database "\w+" does not exist \(DATABASE_URL\)/);
    await expectRejected(as('nobody', url), /role "nobody" does not exist \(DATABASE_URL\)/);
  });

  test('by a role that may not create the schemas', async () => {
    const { url } = await newDatabase();
    await administer('CREATE ROLE powerless LOGIN');
    await expectRejected(
      as('powerless', url),
      /permission denied for database .*: grant the rights in infra\/deploy\/postgres-roles\.sql, or run `sluice migrate`/,
    );
  });
});

describe('few rights suffice:', () => {
  test('a role that owns the schemas need not be allowed to create them', async () => {
    const { url } = await newDatabase();
    await administer('CREATE ROLE owner LOGIN');
    const schemas = [...serviceNames.map(schemaOf), 'sluice_admin', 'bullmq'];
    await administer(schemas.map((name) => `CREATE SCHEMA ${name} AUTHORIZATION owner`).join(';'), url);
    const process = await started(as('owner', url));
    await expectWorking(process);
    expect(await process.stop()).toEqual({ code: 0, signal: null });
    await process.start();
  });

  test('postgres-roles.sql takes over a database that a superuser has migrated and used', async () => {
    const { url } = await newDatabase();
    const before = await started(url);
    await expectWorking(before);
    await before.stop();
    await administer(await readFile(ROLES, 'utf8'), url);
    const env = await environment(as('sluice_app', url));
    const migrator = { ...env, DATABASE_URL: as('sluice_migrator', url), PATH: String(process.env.PATH) };
    // What a later migration does.
    await administer('ALTER TABLE sluice_order.progress ADD COLUMN more integer', as('sluice_migrator', url));
    await run(process.execPath, [String(sluice()[0]), 'migrate'], { cwd: env.DATA_DIR, env: migrator });
    const system = await started(as('sluice_app', url), { MIGRATE: 'off' });
    await expectWorking(system);
    await system.stop();
  });

  test('the roles of postgres-roles.sql migrate and run the system', async () => {
    const { url } = await newDatabase();
    const sql = await readFile(ROLES, 'utf8');
    await administer(sql, url);
    await administer(sql, url); // it may be run again
    const env = { ...(await environment(as('sluice_app', url))), MIGRATE: 'off' };
    await expectRejected(as('sluice_app', url), /run `sluice migrate`, because MIGRATE is off/, { MIGRATE: 'off' });
    expect(await inVain('migrate', env)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/permission denied for schema sluice_order: grant the rights in/),
    });
    const [program] = sluice();
    const migrator = { ...env, DATABASE_URL: as('sluice_migrator', url), PATH: String(process.env.PATH) };
    await run(process.execPath, [String(program), 'migrate'], { cwd: env.DATA_DIR, env: migrator });

    const system = await started(as('sluice_app', url), { MIGRATE: 'off' });
    await expectWorking(system);
    await system.stop(); // it holds the lock of the simulated payment provider
    for (const role of ['sluice_app', 'sluice_migrator']) {
      const create = 'CREATE SCHEMA more';
      await expect(administer(create, as(role, url))).rejects.toThrow('permission denied for database');
    }
    await expect(administer('CREATE TABLE sluice_order.more ()', as('sluice_app', url))).rejects.toThrow(
      'permission denied for schema',
    );
    // In a database that another role has used before.
    await administer(
      `DO $$ DECLARE name text; BEGIN
         FOR name IN SELECT relname FROM pg_class WHERE starts_with(relname, 'bullmq_jid_') AND relkind = 'S' LOOP
           EXECUTE format('ALTER SEQUENCE bullmq.%I OWNER TO postgres', name);
         END LOOP;
       END $$`,
      url,
    );
    await administer(sql, url);
    const owners = await administer(
      "SELECT DISTINCT sequenceowner::text AS owner FROM pg_sequences WHERE starts_with(sequencename, 'bullmq_jid_')",
      url,
    );
    expect(owners).toEqual([{ owner: 'sluice_flash_sale' }]);
    await administer('REVOKE CREATE ON SCHEMA bullmq FROM sluice_flash_sale', url);
    await expectRejected(
      as('sluice_app', url),
      /the role sluice_app may not create sequences in the schema bullmq and temporary tables: grant the rights in/,
    );
    await administer('REVOKE DELETE ON bullmq.job FROM sluice_flash_sale', url);
    await expectRejected(as('sluice_app', url), /the role sluice_app may not read and write bullmq\.job: grant the/);
    await administer(sql, url);
    await administer('REVOKE DELETE ON sluice_order.outbox FROM sluice_order', url);
    await expectRejected(
      as('sluice_app', url),
      /the role sluice_app may not read and write sluice_order\.outbox: grant the rights in/,
    );
  });
});

test('a migration needs DATABASE_URL', async () => {
  const { DATABASE_URL: _, ...env } = await environment('');
  const { code, stderr } = await inVain('migrate', env);
  expect([code, stderr]).toEqual([2, expect.stringMatching(/^error: DATABASE_URL is missing: /)]);
});

describe.runIf(isInstalled)('a standby', () => {
  test('is rejected alone, and takes over in a list of hosts', async () => {
    const primary = await startPostgres();
    onTestFinished(() => primary.stop());
    const standby = await startStandby(primary);
    onTestFinished(() => standby.stop());
    await expectRejected(standby.url, /it is a standby, which is read-only: connect to the primary/);

    const hosts = [standby, primary].map(({ url }) => new URL(url).host);
    const url = standby.url.replace(String(hosts[0]), hosts.join(','));
    const system = await started(`${url}?target_session_attrs=read-write`);
    await expectWorking(system);
    await eventually(
      async () => {
        const [row] = await administer(
          'SELECT FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()',
          primary.url,
        );
        return row !== undefined;
      },
      { what: 'the standby has everything' },
    );
    await primary.kill();
    await administer('SELECT pg_promote()', standby.url);
    const order = await eventually(() => placeOrder(system.url, freshUser()), {
      what: 'an order on the new primary',
      timeoutMs: 60_000,
    });
    await completed(system.url, order.id);
    await expectWorking(system);
    expect(await system.stop()).toEqual({ code: 0, signal: null });
  });
});
