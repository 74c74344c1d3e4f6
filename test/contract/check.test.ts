// `sluice check` on real servers: what it finds, what it says to change, and that it changes nothing.
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { checkServers } from '../../app/check/index.ts';
import { renderCheck } from '../../cli/check.ts';
import { ConfigError } from '../../infra/runtime/settings.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { type FreshDatabase, freshDatabase, runOn } from '../setup/postgres.ts';
import { keysOf } from '../setup/queues.ts';
import { freshPrefix } from '../setup/wait.ts';

const { databaseUrl, amqpUrl, mosquittoUrl, redisUrl, missing } = inject('servers');
const AWAY = '127.0.0.1:1';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-check-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function check(env: Readonly<Record<string, string | undefined>>) {
  const { signal } = new AbortController();
  const report = await checkServers({ BUS_PREFIX: freshPrefix(), DATA_DIR: join(folder, 'data'), ...env }, signal);
  const of = (variable: string) => report.servers.filter((server) => server.variable === variable);
  return { report, of, text: renderCheck(report).join('\n') };
}

describe.skipIf(missing.length > 0)('with all servers', () => {
  let database: FreshDatabase;
  beforeAll(async () => {
    database = await freshDatabase(String(databaseUrl));
  });
  afterAll(() => database?.drop());

  test('prints a line for each server, and leaves nothing behind', async () => {
    const prefix = freshPrefix();
    const { report, of, text } = await check({
      ...{ DATABASE_URL: database.url, AMQP_URL: amqpUrl, MQTT_URL: mosquittoUrl, REDIS_URL: redisUrl },
      BUS_PREFIX: prefix,
    });
    expect(report, text).toMatchObject({ ok: true });
    expect(report.servers.map(({ variable, status }) => [variable, status])).toEqual(
      ['DATABASE_URL', 'AMQP_URL', 'MQTT_URL', 'REDIS_URL', 'DATA_DIR'].map((variable) => [variable, 'ok']),
    );
    expect(of('DATABASE_URL')[0]?.version).toMatch(/^PostgreSQL \d+/);
    expect(of('AMQP_URL')[0]?.version).toMatch(/^RabbitMQ \d+\.\d+/);
    expect(of('REDIS_URL')[0]?.version).toMatch(/^(Redis|Valkey) \d+\.\d+/);
    for (const variable of ['DATABASE_URL', 'REDIS_URL'])
      expect(Math.abs(Number(of(variable)[0]?.clockDifferenceMs))).toBeLessThan(1_000);
    expect(text.split('\n')).toHaveLength(5);
    expect(await schemasOf(database.url)).toEqual([]);
    const redis = new Redis(String(redisUrl));
    cleanUps.push(() => redis.disconnect());
    expect(await keysOf(redis, prefix)).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  });

  test('tells of a clock that differs by more than a second, and does not fail', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 300_000 });
    cleanUps.push(() => vi.useRealTimers());
    const { report, of } = await check({ DATABASE_URL: database.url, REDIS_URL: redisUrl });
    expect(report.ok).toBe(true);
    for (const variable of ['DATABASE_URL', 'REDIS_URL'])
      expect(of(variable)[0]).toMatchObject({
        status: 'warning',
        warnings: [expect.stringMatching(/^its clock is (299|300)\.\d s behind this machine's: synchronise both$/)],
      });
  });

  test('a list has a line for each server', async () => {
    const { report, of } = await check({
      DATABASE_URL: database.url.replace('@', `@${AWAY},`),
      MQTT_URL: `mqtt://${AWAY},${mosquittoUrl}`,
      AMQP_URL: `${amqpUrl},amqp://${AWAY}`,
    });
    expect(report.ok).toBe(false);
    for (const variable of ['DATABASE_URL', 'MQTT_URL', 'AMQP_URL'])
      expect(
        of(variable)
          .map(({ status }) => status)
          .sort(),
      ).toEqual(['failed', 'ok']);
    expect(of('MQTT_URL')[0]?.problems).toEqual([`no connection: connect ECONNREFUSED ${AWAY}`]);
  });
});

describe.skipIf(!databaseUrl)('a database', () => {
  const problemsOf = async (env: Readonly<Record<string, string | undefined>>) => {
    const { of } = await check({ REDIS_URL: redisUrl ?? `redis://${AWAY}`, ...env });
    return of('DATABASE_URL').flatMap(({ problems }) => problems);
  };

  /** A database, and its URL for a role with no rights but to connect. */
  async function withRole() {
    const database = await freshDatabase(String(databaseUrl));
    const role = freshPrefix().replace('-', '_');
    await runOn(database.url, `CREATE ROLE ${role} LOGIN CONNECTION LIMIT 50`);
    cleanUps.push(
      () => runOn(String(databaseUrl), `DROP ROLE ${role}`),
      () => database.drop(),
    );
    const url = new URL(database.url);
    url.username = role;
    return { url: url.href, admin: database.url, role };
  }

  test('whose role may not create the schemas says so, and with MIGRATE=off that they are missing', async () => {
    const { url, role } = await withRole();
    const problems = await problemsOf({ DATABASE_URL: url });
    expect(problems).toHaveLength(6);
    expect(problems[0]).toBe(
      `the role ${role} may not create the schema sluice_order: grant the rights in infra/deploy/postgres-roles.sql, or run \`sluice migrate\` with a role that has them and set MIGRATE=off`,
    );
    expect(await problemsOf({ DATABASE_URL: url, MIGRATE: 'off' })).toEqual([
      'sluice_order, sluice_points, sluice_coupon, sluice_notify, sluice_flash_sale, sluice_admin lack migrations: run `sluice migrate`, because MIGRATE is off',
    ]);
  });

  test('whose role may create schemas has no problem, until its connections do not suffice', async () => {
    const { url, admin, role } = await withRole();
    await runOn(admin, `GRANT CREATE ON DATABASE ${new URL(admin).pathname.slice(1)} TO ${role}`);
    expect(await problemsOf({ DATABASE_URL: url })).toEqual([]);
    await runOn(admin, `ALTER ROLE ${role} CONNECTION LIMIT 12`);
    expect(await problemsOf({ DATABASE_URL: url })).toEqual([
      expect.stringMatching(
        /^it allows 12 connections, and a process with all services may hold 13: raise max_connections/,
      ),
    ]);
  });

  test('that does not exist is named', async () => {
    const url = String(databaseUrl).replace(/[^/]*$/, 'none');
    expect(await problemsOf({ DATABASE_URL: url })).toEqual(['database "none" does not exist (DATABASE_URL)']);
  });
});

const secret = 's3cret';

test('servers that are away, and a wrong password, are named without the password', async () => {
  const { report, text } = await check({
    DATABASE_URL: `postgres://ann:${secret}@${AWAY}/shop`,
    AMQP_URL: `amqp://ann:${secret}@${AWAY}`,
    MQTT_URL: `mqtt://ann:${secret}@${AWAY}`,
    REDIS_URL: redisUrl ? redisUrl.replace('//', `//ann:${secret}@`) : `redis://ann:${secret}@${AWAY}`,
    PAYMENT_URL: `http://${AWAY}`,
  });
  expect(report.servers.map(({ status }) => status)).toEqual(Array(5).fill('failed'));
  expect(text).not.toContain(secret);
  expect(JSON.stringify(report)).not.toContain(secret);
  expect(text.match(/ECONNREFUSED/g)?.length).toBeGreaterThanOrEqual(4);
});

test('without a server only the data folder is checked, and stays absent', async () => {
  const { report } = await check({});
  expect(report.servers).toMatchObject([{ variable: 'DATA_DIR', status: 'ok' }]);
  expect(await readdir(folder)).toEqual([]);
  const failed = await check({ DATA_DIR: '/dev/null/data' });
  expect(failed.report.servers).toMatchObject([
    { status: 'failed', problems: [expect.stringMatching(/set DATA_DIR/)] },
  ]);
});

test('a setting that is not allowed is a configuration error', async () => {
  await expect(check({ MQTT_URL: 'http://x' })).rejects.toThrow(ConfigError);
});

async function schemasOf(url: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query("SELECT nspname FROM pg_namespace WHERE nspname ~ '^(sluice|bullmq)'")).rows;
  } finally {
    await client.end();
  }
}
