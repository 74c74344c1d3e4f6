// PostgreSQL is there, and no connection to it is free: clients are told when to come back, and nothing is lost.
import { Client } from 'pg';
import { request } from 'undici';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Postgres, startPostgres } from '../servers/postgres.ts';
import { eventually } from '../setup/wait.ts';
import { conclude } from './support/conclude.ts';
import { Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import { query } from './support/sql.ts';
import { startSystem } from './support/system.ts';

/** I7 */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');
const POOL_SIZE = 3;

/** A server of its own, whose limits are changed. */
let postgres: Postgres;
/** Of a user with no more rights than it needs: a superuser is let in beyond the limits. */
let userUrl: string;
beforeAll(async () => {
  postgres = await startPostgres();
  await query(postgres.url, 'CREATE ROLE shop LOGIN CREATEDB');
  const url = new URL(postgres.url);
  url.username = 'shop';
  userUrl = url.href;
});
afterAll(() => postgres?.stop());

const start = () =>
  startSystem({
    postgresUrl: userUrl,
    mqttUrl: servers.mosquittoUrl,
    amqpUrl: servers.amqpUrl,
    env: { DATABASE_POOL_SIZE: String(POOL_SIZE) },
  });

test('clients are told when to come back while PostgreSQL takes no more connections', async () => {
  const schedule = newSchedule();
  const { processes, process, databaseUrl } = await start();
  const pids = processes.map(({ pid }) => pid);
  const name = new URL(databaseUrl).pathname.slice(1);
  const load = new Load({ urls: [process('order').url], schedule });
  for (let round = 0; round < rounds; round++) {
    await load.morePlaced(40);
    await schedule.runFor(0, 500);
    const told = load.statuses.get(503) ?? 0;
    await query(postgres.url, `ALTER DATABASE ${name} CONNECTION LIMIT 0`);
    await query(postgres.url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
    await eventually(() => (load.statuses.get(503) ?? 0) > told + 50, { what: 'clients are answered 503' });
    await schedule.runFor(500, 1_500);
    await query(postgres.url, `ALTER DATABASE ${name} CONNECTION LIMIT -1`);
  }
  const over = performance.now();
  const fault = 'PostgreSQL takes no more connections';
  const { failed } = await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
  expect([...load.statuses.keys()].filter((status) => status !== 200 && status !== 201 && status !== 503)).toEqual([]);
  expectRetryAfter([...load.log.values()].flatMap(({ answers }) => answers));
  expect(processes.map(({ pid }) => pid)).toEqual(pids);
});

test("clients are told when to come back while each connection of the process's own pool is taken", async () => {
  const schedule = newSchedule();
  const { processes, process, databaseUrl } = await start();
  const pids = processes.map(({ pid }) => pid);
  const load = new Load({ urls: [process('order').url], schedule });
  for (let round = 0; round < rounds; round++) {
    await load.morePlaced(40);
    await schedule.runFor(0, 500);
    const holder = new Client({ connectionString: databaseUrl });
    await holder.connect();
    // Whoever reads or writes an order waits, with a connection in hand.
    await holder.query('BEGIN; LOCK TABLE sluice_order.orders IN ACCESS EXCLUSIVE MODE');
    try {
      const readers = Array.from({ length: 4 * POOL_SIZE }, () => listOrders(process('order').url));
      // The first to have got one wait with it until the lock is gone.
      const rejected = (await firstOf(readers, 3 * POOL_SIZE)) as Rejection[];
      expect(rejected.map(({ status }) => status)).toEqual(rejected.map(() => 503));
      expectRetryAfter(rejected);
      await holder.query('COMMIT');
      await Promise.all(readers);
    } finally {
      await holder.end();
    }
  }
  const over = performance.now();
  const fault = "each connection of the process's pool taken";
  const { failed } = await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
  expect(processes.map(({ pid }) => pid)).toEqual(pids);
});

interface Rejection {
  readonly status: number | 'unknown';
  readonly retryAfter?: string;
}

async function listOrders(url: string): Promise<Rejection> {
  const { statusCode, headers, body } = await request(`${url}/orders?userId=user-1`);
  await body.dump();
  const retryAfter = headers['retry-after'];
  return { status: statusCode, ...(typeof retryAfter === 'string' ? { retryAfter } : {}) };
}

/** What the first `count` of them resolve to. */
function firstOf<T>(promises: readonly Promise<T>[], count: number): Promise<T[]> {
  return new Promise((resolve, reject) => {
    const first: T[] = [];
    for (const promise of promises)
      promise.then((value) => {
        first.push(value);
        if (first.length === count) resolve([...first]);
      }, reject);
  });
}

function expectRetryAfter(answers: readonly Rejection[]): void {
  const rejected = answers.filter(({ status }) => status === 503);
  expect(rejected.length).toBeGreaterThan(0);
  expect(rejected.every(({ retryAfter }) => Number(retryAfter) >= 1)).toBe(true);
}
