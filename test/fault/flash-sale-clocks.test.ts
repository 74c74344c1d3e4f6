// Gateways with wrong clocks that differ: the database's clock decides when a sale opens, and the queue keeps its rate
// whichever process drains it.
import { expect, inject, test } from 'vitest';
import { createSale } from '../service/support/flash-sales.ts';
import { eventually } from '../setup/wait.ts';
import { Buyers } from './support/buyers.ts';
import { conclude } from './support/conclude.ts';
import { fastestPace, shop } from './support/sale.ts';
import { keepJournal } from './support/sale-journal.ts';
import { newSchedule } from './support/schedule.ts';
import { sluice } from './support/service-process.ts';
import { query } from './support/sql.ts';
import { processOfTest, startSystem } from './support/system.ts';

/** I7 */
const DONE_WITHIN_MS = 30_000;
/** From the death of the process that drains until another one takes over. */
const TAKEN_OVER_WITHIN_MS = 5_000;
const MINUTE_MS = 60_000;
const clock = new URL('support/shifted-clock.js', import.meta.url).href;
const servers = inject('servers');
const terms = { stock: 100_000, queueCap: 60, drainPerSecond: 60 };

test.each([
  { pacedBy: 'Redis', redisUrl: servers.redisUrl },
  { pacedBy: 'PostgreSQL', redisUrl: undefined },
])(
  "gateways whose clocks are five minutes early and late follow the database's clock, paced by $pacedBy",
  async ({ pacedBy, redisUrl }) => {
    const schedule = newSchedule();
    const { databaseUrl, env } = await startSystem({
      postgresUrl: servers.databaseUrl,
      mqttUrl: servers.mosquittoUrl,
      processes: [shop],
      env: { EVENT_BUS: 'local', ...(redisUrl ? { REDIS_URL: redisUrl } : {}) },
    });
    const gateway = (shiftMs: number) =>
      processOfTest(`flash-sale${shiftMs < 0 ? '' : '+'}${shiftMs}`, ['--import', clock, ...sluice('flash-sale')], {
        ...env,
        CLOCK_SHIFT_MS: String(shiftMs),
      });
    const early = await gateway(5 * MINUTE_MS);
    const late = await gateway(-5 * MINUTE_MS);
    // The early one first, so that it drains if only one may: its times are in the future for the other one.
    await early.start();
    await late.start();
    await keepJournal(databaseUrl);

    const opensAt = new Date((await now(databaseUrl)) + 3_000);
    const { id: saleId } = await createSale(early.url, { ...terms, opensAt: opensAt.toISOString() });
    const buyers = new Buyers({ urls: [early.url, late.url], saleId, schedule });
    await Promise.all([early, late].map(({ url }) => expectToOpen(buyers, url, databaseUrl, opensAt.getTime())));

    buyers.arrive(100);
    await buyers.moreAdmitted(2 * terms.queueCap);
    if (redisUrl) {
      await eventually(async () => (await drainersSince(databaseUrl, 0)).length === 2, { what: 'both drain' });
    } else {
      expect(await drainersSince(databaseUrl, 0), 'one at a time').toEqual([5]);
    }
    await early.kill();
    const killedAt = await now(databaseUrl);
    await eventually(async () => (await drainersSince(databaseUrl, killedAt)).includes(-5), {
      what: 'the late one drains alone',
      timeoutMs: TAKEN_OVER_WITHIN_MS,
    });
    await buyers.moreAdmitted(2 * terms.queueCap);
    await early.start();
    const over = performance.now();
    await buyers.moreAdmitted(terms.queueCap);
    const fault = `clocks five minutes early and late, ${pacedBy}`;
    const { failed } = await conclude({ fault, rounds: 1, databaseUrl, buyers, over, withinMs: DONE_WITHIN_MS });
    expect(failed).toEqual([]);
    const pace = await fastestPace(databaseUrl, 3);
    expect(pace).toBeLessThan(1.25 * terms.drainPerSecond);
    expect(pace).toBeGreaterThan(0.5 * terms.drainPerSecond);
  },
);

/** By PostgreSQL's clock, in milliseconds since 1970. */
async function now(databaseUrl: string): Promise<number> {
  const [row] = await query<{ now: number }>(
    databaseUrl,
    'SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now',
  );
  return row?.now ?? Number.NaN;
}

/** Tries until a buyer is admitted: none before the sale opens, every one from then on. */
async function expectToOpen(buyers: Buyers, url: string, databaseUrl: string, opensAt: number): Promise<void> {
  let triesBefore = 0;
  for (let open = false; !open; ) {
    const before = await now(databaseUrl);
    const { status, problem } = await buyers.tryOnce(url);
    const after = await now(databaseUrl);
    if (status === 503) continue; // the machine is too busy
    if (after < opensAt) {
      triesBefore++;
      expect({ status, problem }).toEqual({ status: 409, problem: 'not-open' });
    }
    if (before >= opensAt) expect(status).toBe(202);
    open = status === 202;
  }
  expect(triesBefore, 'too late to see the sale open').toBeGreaterThan(0);
}

/** Errors in minutes of the clocks that have accepted tickets since then, from the ids of the events. */
async function drainersSince(databaseUrl: string, since: number): Promise<number[]> {
  const rows = await query<{ minutes: number }>(
    databaseUrl,
    `SELECT DISTINCT round((('x' || left(replace(accepted_event_id::text, '-', ''), 12))::bit(48)::bigint
         - extract(epoch FROM accepted_at) * 1000) / ${MINUTE_MS})::int AS minutes
     FROM sluice_flash_sale.tickets WHERE accepted_at > to_timestamp(${since} / 1000.0) ORDER BY minutes`,
  );
  return rows.map(({ minutes }) => minutes);
}
