// GET /healthz: 503 if a service makes no progress and rebuilding its consumer did not help, so that an orchestrator
// restarts the process; 200 once there is progress or no backlog.
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import type { FlashSale } from '../../contracts/flash-sales.ts';
import {
  Buyers,
  countByResult,
  createSale,
  freshUsers,
  gatewaysOf,
  over,
  readSale,
} from '../service/support/flash-sales.ts';
import { holdPoints } from '../service/support/hold-points.ts';
import { blockDrain } from '../service/support/sale-database.ts';
import { gatewaysOnPostgres, type System } from '../service/support/systems.ts';
import { call, completed, freshUser, placeOrder } from '../setup/api.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually } from '../setup/wait.ts';

const shape = gatewaysOnPostgres(inject('servers'));
/** Longer than a batch takes on a busy machine. */
const WATCHDOG_MS = 1_000;
/** Four times WATCHDOG_MS, with a check every third of it, and a margin for a busy machine. */
const UNHEALTHY_WITHIN_MS = 30_000;

describe.skipIf(!shape.available)('a process that makes no progress', () => {
  let system: System;
  let orders: string;
  let databaseUrl: string;
  beforeAll(async () => {
    system = await shape.start({ WATCHDOG_MS: String(WATCHDOG_MS) });
    orders = system.url('order');
    databaseUrl = String(system.databaseUrl);
  });
  afterAll(() => system?.remove());

  const healthOf = async (url: string) => {
    const answer = await call(`${url}/healthz`);
    return { code: answer.status, ...answer.json(schemas.health) };
  };
  const healthy = { code: 200, status: 'up', stalled: [] };

  const rebuildsOf = async (url: string, service: string) => {
    const { text } = await call(`${url}/metrics`);
    return Number(
      new RegExp(`^sluice_consumer_rebuilds_total{service="${service}"} (\\d+)$`, 'm').exec(text)?.[1] ?? 0,
    );
  };

  /** The first of these to be unhealthy, and its response. */
  const unhealthy = (urls: readonly string[]) =>
    eventually(
      async () => {
        for (const url of urls) {
          const health = await healthOf(url);
          if (health.code !== 200) return { url, health };
        }
        return undefined;
      },
      { what: 'a process is unhealthy', timeoutMs: UNHEALTHY_WITHIN_MS },
    );

  const healthyAgain = (url: string) =>
    eventually(async () => (await healthOf(url)).code === 200, { what: 'the process is healthy again' });

  test('names a service that handles no messages, and is healthy once it does', async () => {
    const release = await holdPoints(databaseUrl);
    const placed = await Promise.all(Array.from({ length: 5 }, () => placeOrder(orders, freshUser())));
    const { health } = await unhealthy([orders]);
    expect(health).toEqual({ code: 503, status: 'down', stalled: ['points'] });
    expect(await rebuildsOf(orders, 'points')).toBeGreaterThan(3);
    expect(await rebuildsOf(orders, 'coupon')).toBe(0);

    await release();
    for (const { id } of placed) await completed(orders, id);
    await healthyAgain(orders);
  }, 60_000);

  test('names flash-sale if its queue does not drain, and is healthy once it does', async () => {
    const gateways = gatewaysOf(system);
    const url = String(gateways[0]);
    const release = await blockDrain(databaseUrl);
    onTestFinished(release);
    const sale = await createSale(url, { drainPerSecond: 20 });
    expect(countByResult(await new Buyers().rush(gateways, sale.id, freshUsers(20)))).toEqual({ 202: 20 });
    const { url: drainer, health } = await unhealthy(gateways);
    expect(health).toEqual({ code: 503, status: 'down', stalled: ['flash-sale'] });
    expect(await rebuildsOf(drainer, 'flash-sale')).toBeGreaterThan(3);
    // A standby is healthy: it has nothing to drain.
    for (const other of gateways.filter((gateway) => gateway !== drainer))
      expect(await healthOf(other)).toEqual(healthy);
    expect((await readSale(url, sale.id)).queue.length).toBe(20);

    await release();
    const done: FlashSale = await over(url, sale.id);
    expect(done.counts).toMatchObject({ admitted: 20, ordered: 20, released: 0 });
    await healthyAgain(drainer);
  }, 90_000);

  test('is healthy while it has no backlog', async () => {
    const until = performance.now() + 5 * WATCHDOG_MS;
    const seen: unknown[] = [];
    await eventually(
      async () => {
        for (const url of [orders, ...gatewaysOf(system)]) seen.push(await healthOf(url));
        return performance.now() > until;
      },
      { what: 'five times the limit has passed' },
    );
    expect(seen.filter((health) => JSON.stringify(health) !== JSON.stringify(healthy))).toEqual([]);
  });
});
