// Redis, which paces the queue, loses its data during a sale. Purchases are decided meanwhile, and every admitted buyer
// is served, because the tickets are in the database.
import { Redis } from 'ioredis';
import { expect, inject, onTestFinished, test } from 'vitest';
import { type LocalRedis, startRedis } from '../servers/redis.ts';
import { eventually } from '../setup/wait.ts';
import type { Buyers } from './support/buyers.ts';
import { conclude } from './support/conclude.ts';
import { fastestPace, openSale, startSaleSystem } from './support/sale.ts';
import { newSchedule, rounds } from './support/schedule.ts';

/** I7. A job that was running when Redis stopped is taken over after 10 to 15 s. */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');
const OVERLOADED = 'Too many requests at once. Try again.';
const terms = { stock: 100_000, queueCap: 60, drainPerSecond: 60 };

async function startSale() {
  const schedule = newSchedule();
  // A server of this test's own, to be killed.
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const system = await startSaleSystem({
    postgresUrl: servers.databaseUrl,
    mqttUrl: servers.mosquittoUrl,
    redisUrl: redis.redisUrl,
    gateways: 2,
  });
  const { buyers } = await openSale(system, schedule, terms);
  buyers.arrive(100);
  return { ...system, schedule, redis, buyers };
}

test('loses no ticket when Redis is killed and restarts empty', async () => {
  const { schedule, redis, buyers, databaseUrl } = await startSale();
  for (let round = 0; round < rounds; round++) {
    await buyers.moreAdmitted(60);
    await schedule.runFor(0, 500);
    await redis.kill();
    await sellWithout(buyers);
    await redis.restart();
    expect(await keysLoaded(redis)).toBe(0);
  }
  await concludeSale('Redis killed in mid-sale', buyers, databaseUrl);
});

test('loses no ticket when Redis is flushed', async () => {
  const { schedule, redis, buyers, databaseUrl } = await startSale();
  for (let round = 0; round < rounds; round++) {
    await buyers.moreAdmitted(60);
    await schedule.runFor(0, 500);
    await eventually(() => jobsIn(redis), { what: 'jobs wait' });
    await withClient(redis, (client) => client.flushall());
    await sellWithout(buyers);
  }
  await concludeSale('Redis flushed in mid-sale', buyers, databaseUrl);
});

test('loses no ticket when Redis is restored from a copy with finished jobs and without waiting ones', async () => {
  const { schedule, redis, buyers, databaseUrl } = await startSale();
  for (let round = 0; round < rounds; round++) {
    await buyers.moreAdmitted(60);
    await eventually(() => copiesJobs(redis), { what: 'a copy with jobs in it' });
    // All jobs of the copy are finished, and others wait.
    await buyers.moreAdmitted(2 * terms.queueCap);
    await schedule.runFor(0, 500);
    await redis.kill();
    await sellWithout(buyers);
    await redis.restart();
    expect(await keysLoaded(redis)).toBeGreaterThan(0);
  }
  await concludeSale('Redis restored from an older copy', buyers, databaseUrl);
});

/** Continues until the queue, which no ticket leaves, is full, and a while longer. */
async function sellWithout(buyers: Buyers): Promise<void> {
  const decided = () => (buyers.statuses.get(202) ?? 0) + (buyers.statuses.get(429) ?? 0);
  const before = decided();
  await eventually(() => decided() > before + 200, { what: 'purchases are decided' });
}

async function concludeSale(fault: string, buyers: Buyers, databaseUrl: string): Promise<void> {
  const over = performance.now();
  // The queue is drained again: more buyers are admitted than it can hold.
  await buyers.moreAdmitted(2 * terms.queueCap);
  const { failed } = await conclude({ fault, rounds, databaseUrl, buyers, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
  expectDecided(buyers);
  expect(await fastestPace(databaseUrl, 3)).toBeLessThan(1.25 * terms.drainPerSecond);
}

/** The gateway decides without Redis; only an overloaded machine may make it shed requests. */
function expectDecided(buyers: Buyers): void {
  const undecided = buyers.answers.filter(({ status }) => status !== 200 && status !== 202 && status !== 429);
  expect(undecided.filter(({ detail }) => detail !== OVERLOADED)).toEqual([]);
}

async function withClient<T>(redis: LocalRedis, work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(redis.redisUrl);
  try {
    return await work(client);
  } finally {
    client.disconnect();
  }
}

/** Jobs that wait or run. */
const jobsIn = (redis: LocalRedis) =>
  withClient(redis, async (client) => {
    const lists = (await client.keys('*')).filter((key) => /:(wait|active)$/.test(key));
    return (await Promise.all(lists.map((key) => client.llen(key)))).reduce((sum, length) => sum + length, 0);
  });

/** Makes Redis write its file; resolves with whether there were jobs before and after. */
async function copiesJobs(redis: LocalRedis): Promise<boolean> {
  const before = await jobsIn(redis);
  await withClient(redis, (client) => client.save());
  return Math.min(before, await jobsIn(redis)) > 0;
}

/** Keys that Redis read from its file at its last start. */
async function keysLoaded(redis: LocalRedis): Promise<number> {
  const info = await withClient(redis, (client) => client.info('persistence'));
  return Number(/^rdb_last_load_keys_loaded:(\d+)/m.exec(info)?.[1]);
}
