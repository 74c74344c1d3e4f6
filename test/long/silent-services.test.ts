// GET /healthz: 503 where something makes no progress and rebuilding it did not help, so that an orchestrator restarts
// the process; 200 again if it gets going, and wherever there is nothing to do.
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import type { FlashSale } from '../../contracts/flash-sales.ts';
import { call, completed, freshUser, placeOrder } from '../service/support/api.ts';
import {
  Buyers,
  countOutcomes,
  createSale,
  freshUsers,
  gatewaysOf,
  over,
  readSale,
} from '../service/support/flash-sales.ts';
import { holdPoints } from '../service/support/hold-points.ts';
import { holdDrain } from '../service/support/sale-hands.ts';
import { gatewaysOnPostgres, type System } from '../service/support/systems.ts';
import { eventually } from '../setup/wait.ts';

const shape = gatewaysOnPostgres(inject('servers'));
/** More than a batch takes on a busy machine. */
const WATCHDOG_MS = 1_000;
/** Four silences, each with a look every third of it, and as long again for the machine. */
const UNHEALTHY_WITHIN_MS = 30_000;

describe.skipIf(!shape.available)('a process in which something hangs', () => {
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
    return { code: answer.status, ...answer.json<{ status: string; silent: string[] }>() };
  };
  const healthy = { code: 200, status: 'up', silent: [] };

  const rebuildsOf = async (url: string, service: string) => {
    const { text } = await call(`${url}/metrics`);
    return Number(
      new RegExp(`^sluice_consumer_rebuilds_total{service="${service}"} (\\d+)$`, 'm').exec(text)?.[1] ?? 0,
    );
  };

  /** Which of these says that it is not healthy, and what it says. */
  const unhealthy = (urls: readonly string[]) =>
    eventually(
      async () => {
        for (const url of urls) {
          const health = await healthOf(url);
          if (health.code !== 200) return { url, health };
        }
        return undefined;
      },
      { what: 'it says that it is not healthy', timeoutMs: UNHEALTHY_WITHIN_MS },
    );

  const healthyAgain = (url: string) =>
    eventually(async () => (await healthOf(url)).code === 200, { what: 'it is healthy again' });

  test('names the service whose messages are not handled, and is healthy once they are', async () => {
    const release = await holdPoints(databaseUrl);
    const placed = await Promise.all(Array.from({ length: 5 }, () => placeOrder(orders, freshUser())));
    const { health } = await unhealthy([orders]);
    expect(health).toEqual({ code: 503, status: 'down', silent: ['points'] });
    expect(await rebuildsOf(orders, 'points')).toBeGreaterThan(3);
    expect(await rebuildsOf(orders, 'coupon')).toBe(0);

    await release();
    for (const { id } of placed) await completed(orders, id);
    await healthyAgain(orders);
  }, 60_000);

  test('names the flash sale whose tickets do not leave their queue, and is healthy once they do', async () => {
    const gateways = gatewaysOf(system);
    const url = String(gateways[0]);
    const release = await holdDrain(databaseUrl);
    onTestFinished(release);
    const sale = await createSale(url, { drainPerSecond: 20 });
    expect(countOutcomes(await new Buyers().rush(gateways, sale.id, freshUsers(20)))).toEqual({ 202: 20 });
    const { url: drainer, health } = await unhealthy(gateways);
    expect(health).toEqual({ code: 503, status: 'down', silent: ['flash-sale'] });
    expect(await rebuildsOf(drainer, 'flash-sale')).toBeGreaterThan(3);
    // Who only stands by to drain has nothing to answer for.
    for (const other of gateways.filter((gateway) => gateway !== drainer))
      expect(await healthOf(other)).toEqual(healthy);
    expect((await readSale(url, sale.id)).queue.length).toBe(20);

    await release();
    const done: FlashSale = await over(url, sale.id);
    expect(done.counts).toMatchObject({ admitted: 20, ordered: 20, released: 0 });
    await healthyAgain(drainer);
  }, 90_000);

  test('where nothing waits every process stays healthy', async () => {
    const until = performance.now() + 5 * WATCHDOG_MS;
    const seen: unknown[] = [];
    await eventually(
      async () => {
        for (const url of [orders, ...gatewaysOf(system)]) seen.push(await healthOf(url));
        return performance.now() > until;
      },
      { what: 'five times the silence is over' },
    );
    expect(seen.filter((health) => JSON.stringify(health) !== JSON.stringify(healthy))).toEqual([]);
  });
});
