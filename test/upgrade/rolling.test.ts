// A rolling upgrade: the packed baseline and a newer copy of the current build run side by side on one RabbitMQ and one
// PostgreSQL, under load. The newer copy writes an optional field, a column and an event type that the baseline does
// not know (newer-copy.ts). Nothing is lost, doubled or dead, whichever of the two starts first.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from 'vitest';
import { Buyers } from '../fault/support/buyers.ts';
import { checkInvariants, isDrained } from '../fault/support/checker.ts';
import { Load } from '../fault/support/load.ts';
import { newSchedule } from '../fault/support/schedule.ts';
import type { ServiceProcess } from '../fault/support/service-process.ts';
import { count, query } from '../fault/support/sql.ts';
import { processOfTest } from '../fault/support/system.ts';
import { type UnpackedBuild, unpackBuild } from '../fixtures/packed-build.ts';
import { createSale } from '../service/support/flash-sales.ts';
import { NO_PAYMENTS } from '../setup/payments.ts';
import { freshDatabase } from '../setup/postgres.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';
import { buildNewerCopy, type NewerCopy } from './newer-copy.ts';

const run = promisify(execFile);
const { databaseUrl: postgresUrl, amqpUrl, mosquittoUrl } = inject('servers');

/** Of the baseline, as their schemas name them. */
const SERVICES = ['order', 'points', 'coupon', 'notify', 'flash_sale'];
const ORDERS_PER_SECOND = 25;
const BUYERS_PER_SECOND = 5;
/** A row that the other version's relay could not publish is due again within a minute. */
const DRAINED_WITHIN_MS = 90_000;

let baseline: UnpackedBuild;
let newer: NewerCopy;
beforeAll(async () => {
  [baseline, newer] = await Promise.all([unpackBuild(), buildNewerCopy()]);
}, 240_000);
afterAll(() => Promise.all([baseline?.remove(), newer?.remove()]));

interface Upgrade {
  readonly databaseUrl: string;
  readonly old: ServiceProcess;
  readonly next: ServiceProcess;
}

/** Both versions with all services, not started yet. */
async function prepare(): Promise<Upgrade> {
  if (!postgresUrl || !amqpUrl || !mosquittoUrl)
    throw new Error('PostgreSQL, RabbitMQ or Mosquitto is missing: the end of the run says how to get it');
  const database = await freshDatabase(postgresUrl);
  onTestFinished(() => database.drop());
  const env = {
    DATABASE_URL: database.url,
    AMQP_URL: amqpUrl,
    MQTT_URL: mosquittoUrl,
    PAYMENT_URL: NO_PAYMENTS,
    BUS_PREFIX: freshPrefix(),
    // Nothing is resent: a resend would hide a loss.
    RESEND_AFTER_MS: '3600000',
  };
  return {
    databaseUrl: database.url,
    old: await processOfTest('baseline', [baseline.program, 'start'], env),
    next: await processOfTest('newer copy', [newer.program, 'start'], env),
  };
}

/** Orders and purchases at both; while one of them does not run, its requests are repeated at the other one. */
async function startLoad({ old, next }: Upgrade, first: ServiceProcess) {
  const schedule = newSchedule();
  const urls = [old.url, next.url];
  const sale = await createSale(first.url, { stock: 100_000, queueCap: 100, drainPerSecond: 20 });
  const buyers = new Buyers({ urls, saleId: sale.id, schedule });
  buyers.arrive(BUYERS_PER_SECOND);
  return { load: new Load({ urls, schedule, pace: ORDERS_PER_SECOND }), buyers };
}

async function expectNothingLost(upgrade: Upgrade, { load, buyers }: Awaited<ReturnType<typeof startLoad>>) {
  const { databaseUrl } = upgrade;
  await Promise.all([load.stop(), buyers.stop()]);
  const what = 'all work is done';
  await eventually(() => isDrained(databaseUrl), { what, timeoutMs: DRAINED_WITHIN_MS }).catch(() => undefined);
  const verdict = await checkInvariants({ databaseUrl }, { log: load.log, buyers: buyers.log });
  expect(verdict).toMatchObject({ lost: 0, duplicated: 0, violations: [], failed: [] });
  expect(buyers.statuses.get(202)).toBeGreaterThan(0);
  return verdict;
}

/** Awards by the version that wrote them: `none` by the baseline, `unknown` by the newer copy for the baseline's event. */
async function expectBothVersionsAtWork(databaseUrl: string): Promise<void> {
  const rows = await query<{ tier: string; awards: number }>(
    databaseUrl,
    `SELECT COALESCE(tier, 'none') AS tier, count(*)::integer AS awards
     FROM sluice_points.entries JOIN sluice_order.orders ON orders.id = order_id
     WHERE kind = 'award' AND ticket_id IS NULL GROUP BY 1 ORDER BY 1`,
  );
  console.log(rows.map(({ tier, awards }) => `${tier}: ${awards} awards`).join(', '));
  expect(rows.map(({ tier }) => tier)).toEqual(['none', 'unknown', 'web']);
}

/** The event type of the newer copy reached its own service once for each award, and no other service. */
async function expectCredits(databaseUrl: string): Promise<void> {
  const unequal = `(SELECT order_id, tier FROM sluice_points.entries WHERE kind = 'award' AND tier IS NOT NULL) AS awards
    FULL JOIN sluice_loyalty.credits USING (order_id) WHERE awards.tier IS DISTINCT FROM credits.tier`;
  await eventually(async () => (await count(databaseUrl, unequal)) === 0, {
    what: 'every award of the newer copy has its credit',
    timeoutMs: DRAINED_WITHIN_MS,
  });
  expect(await count(databaseUrl, 'sluice_loyalty.credits')).toBeGreaterThan(0);
  expect(await count(databaseUrl, `sluice_loyalty.inbox WHERE status <> 'done'`)).toBe(0);
  for (const service of SERVICES)
    expect(await count(databaseUrl, `sluice_${service}.inbox WHERE type = 'credit.granted'`), service).toBe(0);
}

/** By the version that runs at the URL. */
async function expectAuditPasses(program: string, { url }: ServiceProcess): Promise<void> {
  const { stdout } = await run(process.execPath, [program, 'audit', '--url', url, '--settle', '10s', '--json']);
  const report = JSON.parse(stdout) as { ok: boolean; messages: Record<string, { inbox: { dead: { rows: number } } }> };
  expect(report.ok).toBe(true);
  expect(Object.values(report.messages).map(({ inbox }) => inbox.dead.rows)).toEqual(
    Object.keys(report.messages).map(() => 0),
  );
}

const CLEAN = { code: 0, signal: null };

test('a newer copy joins the baseline under load, and replaces it', async () => {
  const upgrade = await prepare();
  const { old, next, databaseUrl } = upgrade;
  await old.start();
  const clients = await startLoad(upgrade, old);
  await clients.load.morePlaced(60);
  await next.start(); // migrates the database under the baseline
  await clients.load.morePlaced(180);
  expect(await old.stop()).toEqual(CLEAN);
  await clients.load.morePlaced(60);
  const { orders } = await expectNothingLost(upgrade, clients);
  expect(orders).toBeGreaterThan(300);
  await expectBothVersionsAtWork(databaseUrl);
  await expectCredits(databaseUrl);
  await expectAuditPasses(newer.program, next);
});

test('the baseline starts on the database of a newer copy, and stays while that one is away', async () => {
  const upgrade = await prepare();
  const { old, next, databaseUrl } = upgrade;
  await next.start();
  const clients = await startLoad(upgrade, next);
  await clients.load.morePlaced(60);
  await old.start();
  await clients.load.morePlaced(120);
  expect(await next.stop()).toEqual(CLEAN); // what it has not published waits for it
  await clients.load.morePlaced(60);
  await next.start();
  await clients.load.morePlaced(60);
  const { orders } = await expectNothingLost(upgrade, clients);
  expect(orders).toBeGreaterThan(300);
  await expectBothVersionsAtWork(databaseUrl);
  await expectCredits(databaseUrl);
  await expectAuditPasses(newer.program, next);
  await expectAuditPasses(baseline.program, old);
});
