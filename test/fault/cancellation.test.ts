// Half of all orders are cancelled, before, during and after their steps, and every service is killed between two
// durable steps. The orders end as they do without faults.
import { expect, inject, test, vi } from 'vitest';
import { type Failpoint, failpoints } from '../../app/config.ts';
import { createSale } from '../service/support/flash-sales.ts';
import { Buyers } from './support/buyers.ts';
import { conclude } from './support/conclude.ts';
import { Holders } from './support/holders.ts';
import { Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import type { ServiceProcess } from './support/service-process.ts';
import { count } from './support/sql.ts';
import { startSystem } from './support/system.ts';

// A round takes seconds on an idle machine.
vi.setConfig({ testTimeout: 300_000 });

/** I7 */
const DONE_WITHIN_MS = 45_000;
const CANCELS = 0.5;
const servers = inject('servers');
const resources = { postgresUrl: servers.databaseUrl, mqttUrl: servers.mosquittoUrl, amqpUrl: servers.amqpUrl };

/** The failpoints that every service passes. */
const messaging = failpoints.filter((name) => /^(outbox|inbox)\./.test(name));

test.each(messaging)('each service crashes at %s while half of the orders are cancelled', async (failpoint) => {
  const schedule = newSchedule();
  const { process, databaseUrl } = await startSystem(resources);
  const [shops, gateways] = [[process('order').url], [process('flash-sale').url]];
  const load = new Load({ urls: shops, schedule, pace: 30, cancels: CANCELS });
  const terms = { stock: 10_000, queueCap: 1_000, drainPerSecond: 50 };
  const { id: saleId } = await createSale(process('flash-sale').url, terms);
  const shares = { pay: 0, cancel: CANCELS, regret: 0 };
  const holders = new Holders({ gateways, shops, saleId, schedule, withinMs: 1_000, ...shares });
  const buyers = new Buyers({ urls: gateways, saleId, schedule, onTicket: holders.take });
  buyers.arrive(6);
  for (let round = 0; round < rounds; round++) {
    const consumers = (['points', 'coupon', 'notify', 'flash-sale'] as const).map(process);
    await Promise.all(consumers.map((each) => crash(each, failpoint)));
    // The order service comes last, because the others get their work from it.
    await crash(process('order'), failpoint);
  }
  const over = performance.now();
  const fault = `crash at ${failpoint}, each service, half cancelled`;
  const { failed } = await conclude({
    fault,
    rounds,
    databaseUrl,
    load,
    buyers,
    holders,
    over,
    withinMs: DONE_WITHIN_MS,
  });
  expect(failed).toEqual([]);
  for (const ofTicket of ['NULL', 'NOT NULL']) {
    const cancelled = `sluice_order.orders JOIN sluice_order.progress ON order_id = id
      WHERE ticket_id IS ${ofTicket} AND state = 'cancelled'`;
    expect(await count(databaseUrl, cancelled), `cancelled orders whose ticket is ${ofTicket}`).toBeGreaterThan(0);
  }
});

/** Restarts the service with the failpoint, waits until it dies there, and starts it without. */
async function crash(service: ServiceProcess, failpoint: Failpoint): Promise<void> {
  await service.kill();
  await service.launch({ FAILPOINT: failpoint });
  expect(await service.ended(30_000)).toEqual({ code: null, signal: 'SIGKILL' });
  await service.start();
}
