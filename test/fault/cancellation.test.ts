// Half of all orders are cancelled, before, during and after their steps, and every service is killed between two
// durable steps. The orders end as they do without faults.
import { expect, inject, test, vi } from 'vitest';
import { createSale } from '../service/support/flash-sales.ts';
import { Buyers } from './support/buyers.ts';
import { conclude } from './support/conclude.ts';
import { crashEach, messagingFailpoints } from './support/crash.ts';
import { Holders } from './support/holders.ts';
import { Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import { count } from './support/sql.ts';
import { startSystem } from './support/system.ts';

// A round takes seconds on an idle machine.
vi.setConfig({ testTimeout: 300_000 });

/** I7 */
const DONE_WITHIN_MS = 45_000;
const CANCELS = 0.5;
const servers = inject('servers');
const resources = { postgresUrl: servers.databaseUrl, mqttUrl: servers.mosquittoUrl, amqpUrl: servers.amqpUrl };

test.each(messagingFailpoints)(
  'reverts every cancelled order if each service crashes at %s while half of the orders are cancelled',
  async (failpoint) => {
    const schedule = newSchedule();
    const system = await startSystem(resources);
    const { process, databaseUrl } = system;
    const [shops, gateways] = [[process('order').url], [process('flash-sale').url]];
    const load = new Load({ urls: shops, schedule, pace: 30, cancels: CANCELS });
    const terms = { stock: 10_000, queueCap: 1_000, drainPerSecond: 50 };
    const { id: saleId } = await createSale(process('flash-sale').url, terms);
    const shares = { pay: 0, cancel: CANCELS, regret: 0 };
    const holders = new Holders({ gateways, shops, saleId, schedule, withinMs: 1_000, ...shares });
    const buyers = new Buyers({ urls: gateways, saleId, schedule, onTicket: holders.take });
    buyers.arrive(6);
    for (let round = 0; round < rounds; round++)
      await crashEach(system, ['points', 'coupon', 'notify', 'flash-sale'], failpoint);
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
  },
);
