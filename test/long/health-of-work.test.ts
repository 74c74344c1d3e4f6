// A server that responds and rejects the work: /readyz, /metrics and the log tell of it within seconds, /healthz asks
// for no restart, which would not help, and the work resumes by itself.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { expect, inject, onTestFinished, test } from 'vitest';
import { createServiceProcess, type ServiceProcess, sluice } from '../fault/support/service-process.ts';
import { startRedis } from '../servers/redis.ts';
import { buy, createSale, readTicket, ticketOf } from '../service/support/flash-sales.ts';
import { call, freshUser, readReadiness } from '../setup/api.ts';
import { newPglite } from '../setup/pglite.ts';
import { freshDatabase } from '../setup/postgres.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const servers = inject('servers');
const WATCHDOG_MS = 500;

async function createProcess(settings: Record<string, string>): Promise<ServiceProcess> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-health-'));
  onTestFinished(() => rm(dataDir, { recursive: true }));
  if (!settings.DATABASE_URL) await newPglite(join(dataDir, 'database'));
  const common = { DATA_DIR: dataDir, MQTT_PORT: '0', BUS_PREFIX: freshPrefix(), WATCHDOG_MS: String(WATCHDOG_MS) };
  const process = await createServiceProcess('sluice', sluice(), { ...common, ...settings });
  onTestFinished(() => process.remove());
  return process;
}

/** A sale that a process drains, and a buyer of it. */
async function openSale({ url }: ServiceProcess) {
  const { id } = await createSale(url, { stock: 100, queueCap: 100, drainPerSecond: 20 });
  const buyTicket = async () => ticketOf(await buy(url, id, freshUser())).ticketId;
  const isOrdered = (ticketId: string) => async () => (await readTicket(url, id, ticketId)).status === 'ordered';
  const first = await buyTicket();
  await eventually(isOrdered(first), { what: 'the first ticket is an order', timeoutMs: 30_000 });
  return { buyTicket, isOrdered };
}

/** Longer than four rebuilds of a stalled queue. */
async function expectNoRestart({ url }: ServiceProcess): Promise<void> {
  const until = performance.now() + 10 * WATCHDOG_MS;
  const codes = new Set<number>();
  await eventually(
    async () => {
      codes.add((await call(`${url}/healthz`)).status);
      return performance.now() > until;
    },
    { what: 'ten times the limit has passed' },
  );
  expect([...codes]).toEqual([200]);
}

test.skipIf(!servers.redisUrl)(
  'a full Redis degrades the drain, which resumes when Redis has room',
  async () => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const admin = new Redis(redis.redisUrl);
    onTestFinished(() => admin.disconnect());
    const process = await createProcess({ REDIS_URL: redis.redisUrl });
    await process.start();
    const { buyTicket, isOrdered } = await openSale(process);

    await admin.config('SET', 'maxmemory', '1');
    const tickets = await Promise.all([buyTicket(), buyTicket(), buyTicket()]);
    const drain = await eventually(
      async () => (await readReadiness(process.url)).loops.find(({ loop }) => loop === 'drain'),
      { what: 'the drain is degraded' },
    );
    expect(drain).toMatchObject({ service: 'flash-sale', status: 'degraded', error: expect.stringMatching(/^OOM/) });
    expect(drain.failures).toBeGreaterThanOrEqual(5);
    await eventually(async () => (await readReadiness(process.url)).resources.queues?.status === 'degraded', {
      what: 'the queues are degraded',
    });
    const { status, resources, consumers } = await readReadiness(process.url);
    expect(status).toBe('degraded');
    expect(resources.queues?.detail).toContain('OOM command not allowed');
    expect(consumers['flash-sale']).toMatchObject({ status: 'degraded', detail: expect.stringContaining('OOM') });
    const metrics = (await call(`${process.url}/metrics`)).text;
    expect(metrics).toMatch(/^sluice_loop_failures\{service="flash-sale",loop="drain"\} ([5-9]|\d\d+)$/m);
    expect(metrics).toMatch(/^sluice_loop_failing_seconds\{service="flash-sale",loop="drain"\} \d/m);
    expect(await process.output()).toMatch(/"loop":"drain","failures":5,.*OOM.*degraded: fails again and again/);
    await expectNoRestart(process);

    await admin.config('SET', 'maxmemory', '0');
    for (const ticket of tickets)
      await eventually(isOrdered(ticket), { what: 'the ticket is an order', timeoutMs: 30_000 });
    await eventually(async () => (await readReadiness(process.url)).status === 'up', { what: 'everything is up' });
    expect((await call(`${process.url}/metrics`)).text).not.toMatch(/^sluice_loop_failures\{/m);
  },
  180_000,
);

test.skipIf(!servers.databaseUrl)(
  'a database that rejects the claims degrades them',
  async () => {
    const { url, drop } = await freshDatabase(String(servers.databaseUrl));
    onTestFinished(drop);
    const admin = new Client({ connectionString: url });
    await admin.connect();
    onTestFinished(() => admin.end());
    const process = await createProcess({ DATABASE_URL: url });
    await process.start();
    const { buyTicket, isOrdered } = await openSale(process);

    await admin.query('ALTER SCHEMA bullmq RENAME TO elsewhere');
    const ticket = await buyTicket();
    const claims = await eventually(
      async () => (await readReadiness(process.url)).loops.find(({ loop }) => loop === 'claim jobs'),
      { what: 'the claims are degraded' },
    );
    expect(claims).toMatchObject({ service: 'flash-sale', error: expect.stringMatching(/does not exist/) });
    await expectNoRestart(process);
    await admin.query('ALTER SCHEMA elsewhere RENAME TO bullmq');
    await eventually(isOrdered(ticket), { what: 'the ticket is an order', timeoutMs: 30_000 });
    await eventually(async () => (await readReadiness(process.url)).status === 'up', { what: 'everything is up' });
  },
  180_000,
);

test.skipIf(!servers.redisUrl)('a start with a Redis Cluster ends with exit code 2 and the reason', async () => {
  const node = await startRedis({ cluster: true });
  onTestFinished(() => node.stop());
  const process = await createProcess({ REDIS_URL: node.redisUrl });
  await process.launch();
  expect(await process.ended(60_000)).toEqual({ code: 2, signal: null });
  const output = await process.output();
  expect(output).toMatch(/^error: REDIS_URL cannot be used: it is a node of a Redis Cluster/m);
  expect(output).not.toMatch(/^ +at /m);
});
