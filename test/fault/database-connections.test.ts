// PostgreSQL runs, but no connection is free: clients get 503 with Retry-After, and no order is lost.
import { Client } from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Postgres, startPostgres } from '../servers/postgres.ts';
import { call } from '../setup/api.ts';
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

/** A private server, because its limits are changed. */
let postgres: Postgres;
/** For a user without superuser rights: the limits do not apply to a superuser. */
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

test('clients get 503 with Retry-After while PostgreSQL accepts no connections', async () => {
  const schedule = newSchedule();
  const { processes, process, databaseUrl } = await start();
  const pids = processes.map(({ pids }) => pids);
  const name = new URL(databaseUrl).pathname.slice(1);
  const load = new Load({ urls: [process('order').url], schedule });
  for (let round = 0; round < rounds; round++) {
    await load.morePlaced(40);
    await schedule.runFor(0, 500);
    const before = load.statuses.get(503) ?? 0;
    await query(postgres.url, `ALTER DATABASE ${name} CONNECTION LIMIT 0`);
    await query(postgres.url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
    await eventually(() => (load.statuses.get(503) ?? 0) > before + 50, { what: 'clients get 503' });
    await schedule.runFor(500, 1_500);
    await query(postgres.url, `ALTER DATABASE ${name} CONNECTION LIMIT -1`);
  }
  const over = performance.now();
  const fault = 'PostgreSQL takes no more connections';
  const { failed } = await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
  expect([...load.statuses.keys()].filter((status) => status !== 200 && status !== 201 && status !== 503)).toEqual([]);
  expectRetryAfter([...load.log.values()].flatMap(({ answers }) => answers));
  expect(processes.map(({ pids }) => pids)).toEqual(pids);
});

test("clients get 503 with Retry-After while every connection of the process's pool is in use", async () => {
  const schedule = newSchedule();
  const { processes, process, databaseUrl } = await start();
  const pids = processes.map(({ pids }) => pids);
  const load = new Load({ urls: [process('order').url], schedule });
  for (let round = 0; round < rounds; round++) {
    await load.morePlaced(40);
    await schedule.runFor(0, 500);
    const holder = new Client({ connectionString: databaseUrl });
    await holder.connect();
    // A request that reads or writes an order now waits while it holds a connection.
    await holder.query('BEGIN; LOCK TABLE sluice_order.orders IN ACCESS EXCLUSIVE MODE');
    try {
      const readers = Array.from({ length: 4 * POOL_SIZE }, () => listOrders(process('order').url));
      // The requests that got a connection hold it until the lock is released.
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
  expect(processes.map(({ pids }) => pids)).toEqual(pids);
});

interface Rejection {
  readonly status: number | 'unknown';
  readonly retryAfter?: string;
}

async function listOrders(url: string): Promise<Rejection> {
  const { status, headers } = await call(`${url}/orders?userId=user-1`);
  const retryAfter = headers['retry-after'];
  return { status, ...(typeof retryAfter === 'string' ? { retryAfter } : {}) };
}

/** Resolves with the first `count` results. */
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
