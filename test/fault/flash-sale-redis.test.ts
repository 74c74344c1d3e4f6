// The server that paces the queue loses what it holds, in the middle of a sale. Purchases are decided all the same, and
// nobody who was admitted is forgotten: the tickets are the truth.
import { Redis } from 'ioredis';
import { expect, inject, onTestFinished, test } from 'vitest';
import { type LocalRedis, startRedis } from '../servers/redis.ts';
import { eventually } from '../setup/wait.ts';
import type { Buyers } from './support/buyers.ts';
import { conclude } from './support/conclude.ts';
import { fastestPace, openSale, startSaleSystem } from './support/sale.ts';
import { newSchedule, rounds } from './support/schedule.ts';

/** I7. A job that was begun when Redis ended is taken up 10 to 15 s later. */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');
const OVERLOADED = 'Too many requests at once. Try again.';
const terms = { stock: 100_000, queueCap: 60, drainPerSecond: 60 };

async function startSale() {
  const schedule = newSchedule();
  // A server of its own, to be broken.
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

test('killed, it comes back empty', async () => {
  const { schedule, redis, buyers, databaseUrl } = await startSale();
  for (let round = 0; round < rounds; round++) {
    await buyers.moreAdmitted(60);
    await schedule.runFor(0, 500);
    await redis.kill();
    await goOnWithout(buyers);
    await redis.restart();
    expect(await keysLoaded(redis)).toBe(0);
  }
  await concludeSale('Redis killed in mid-sale', buyers, databaseUrl);
});

test('flushed, it goes on from nothing', async () => {
  const { schedule, redis, buyers, databaseUrl } = await startSale();
  for (let round = 0; round < rounds; round++) {
    await buyers.moreAdmitted(60);
    await schedule.runFor(0, 500);
    await eventually(() => jobsIn(redis), { what: 'jobs wait' });
    await ask(redis, (client) => client.flushall());
    await goOnWithout(buyers);
  }
  await concludeSale('Redis flushed in mid-sale', buyers, databaseUrl);
});

test('restored from an older copy, it knows jobs that are done and lacks those that wait', async () => {
  const { schedule, redis, buyers, databaseUrl } = await startSale();
  for (let round = 0; round < rounds; round++) {
    await buyers.moreAdmitted(60);
    await eventually(() => copiesJobs(redis), { what: 'a copy with jobs in it' });
    // All jobs of the copy are done, and others wait.
    await buyers.moreAdmitted(2 * terms.queueCap);
    await schedule.runFor(0, 500);
    await redis.kill();
    await goOnWithout(buyers);
    await redis.restart();
    expect(await keysLoaded(redis)).toBeGreaterThan(0);
  }
  await concludeSale('Redis restored from an older copy', buyers, databaseUrl);
});

/** Until the queue, which nobody leaves, is full, and for a while after. */
async function goOnWithout(buyers: Buyers): Promise<void> {
  const decided = () => (buyers.statuses.get(202) ?? 0) + (buyers.statuses.get(429) ?? 0);
  const before = decided();
  await eventually(() => decided() > before + 200, { what: 'purchases are decided' });
}

async function concludeSale(fault: string, buyers: Buyers, databaseUrl: string): Promise<void> {
  const over = performance.now();
  // The queue moves again: more are admitted than it can hold.
  await buyers.moreAdmitted(2 * terms.queueCap);
  const { failed } = await conclude({ fault, rounds, databaseUrl, buyers, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
  expectDecided(buyers);
  expect(await fastestPace(databaseUrl, 3)).toBeLessThan(1.25 * terms.drainPerSecond);
}

/** The gateway does not need Redis. Only a machine that is too busy for it may make it reject. */
function expectDecided(buyers: Buyers): void {
  const undecided = buyers.answers.filter(({ status }) => status !== 200 && status !== 202 && status !== 429);
  expect(undecided.filter(({ detail }) => detail !== OVERLOADED)).toEqual([]);
}

async function ask<T>(redis: LocalRedis, question: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(redis.redisUrl);
  try {
    return await question(client);
  } finally {
    client.disconnect();
  }
}

/** Jobs that wait or run. */
const jobsIn = (redis: LocalRedis) =>
  ask(redis, async (client) => {
    const lists = (await client.keys('*')).filter((key) => /:(wait|active)$/.test(key));
    return (await Promise.all(lists.map((key) => client.llen(key)))).reduce((sum, length) => sum + length, 0);
  });

/** Has it write its file; answers whether there were jobs all the while. */
async function copiesJobs(redis: LocalRedis): Promise<boolean> {
  const before = await jobsIn(redis);
  await ask(redis, (client) => client.save());
  return Math.min(before, await jobsIn(redis)) > 0;
}

/** What it read from its file when it last started. */
async function keysLoaded(redis: LocalRedis): Promise<number> {
  const info = await ask(redis, (client) => client.info('persistence'));
  return Number(/^rdb_last_load_keys_loaded:(\d+)/m.exec(info)?.[1]);
}
