// Events that are lost between a ticket and its order are requested again, and any process that runs drains the queues.
import { describe, expect, inject, test, vi } from 'vitest';
import { onEachShape } from '../service/support/each-shape.ts';
import {
  admittedOf,
  Buyers,
  countByResult,
  createSale,
  freshUsers,
  gatewaysOf,
  over,
  readSale,
  readTicket,
  ticketOf,
} from '../service/support/flash-sales.ts';
import { gatewaysOnPostgres, gatewaysOnRedis, type System } from '../service/support/systems.ts';
import { call } from '../setup/api.ts';
import { startProxy } from '../setup/proxy.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually } from '../setup/wait.ts';
import { checkInvariants, isDrained } from './support/checker.ts';
import { keepJournal } from './support/sale-journal.ts';
import type { ServiceProcess } from './support/service-process.ts';
import { count, query } from './support/sql.ts';

// Takes seconds on an idle machine.
vi.setConfig({ testTimeout: 120_000 });

const servers = inject('servers');
const postgres = gatewaysOnPostgres(servers);
const redis = gatewaysOnRedis(servers);
const options = {
  shapes: [postgres, redis],
  env: { RESEND_AFTER_MS: '500', LEASE_MS: '3000', PUBLISH_TIMEOUT_MS: '1000' },
  prepare: ({ databaseUrl }: System) => keepJournal(String(databaseUrl)),
};

onEachShape(options, (on) => {
  const onShape = on.test;
  const buyers = new Buyers();

  /** `count` users buy tickets, at all gateways. */
  async function admitted(count: number, changes: object = {}) {
    const sale = await createSale(on.url, { stock: count, queueCap: count, drainPerSecond: 100, ...changes });
    const bought = await buyers.rush(on.gateways, sale.id, freshUsers(count));
    expect(countByResult(bought)).toEqual({ 202: count });
    return { sale, tickets: admittedOf(bought).map(({ answer }) => ticketOf(answer).ticketId) };
  }

  /**
   * Keeps the first event of this type about each subject out of the table. Resolves with a function that ends this and
   * returns how many events of a sale were lost; orders of an earlier sale may lose some too.
   */
  async function lose(table: string, type: string) {
    await query(
      on.databaseUrl,
      `CREATE TABLE lost (subject text PRIMARY KEY);
       CREATE FUNCTION lose_the_first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         INSERT INTO public.lost VALUES (NEW.subject) ON CONFLICT DO NOTHING;
         IF FOUND THEN RETURN NULL; END IF;
         RETURN NEW;
       END $$;
       CREATE TRIGGER lose_the_first BEFORE INSERT ON ${table} FOR EACH ROW
         WHEN (NEW.type = '${type}') EXECUTE FUNCTION lose_the_first()`,
    );
    return async (saleId: string) => {
      const lost = await count(
        on.databaseUrl,
        `lost JOIN sluice_flash_sale.tickets t ON subject IN (t.id::text, t.order_id::text) WHERE t.sale_id = '${saleId}'`,
      );
      await query(on.databaseUrl, `DROP FUNCTION lose_the_first CASCADE; DROP TABLE lost`);
      return lost;
    };
  }

  const losses: [string, string, string][] = [
    ['flash-sale.ticket.accepted on its way out', 'sluice_flash_sale.outbox', 'flash-sale.ticket.accepted'],
    ['flash-sale.ticket.accepted on its way in', 'sluice_order.inbox', 'flash-sale.ticket.accepted'],
    ['order.placed on its way out', 'sluice_order.outbox', 'order.placed'],
    ['order.placed on its way to the flash sale', 'sluice_flash_sale.inbox', 'order.placed'],
  ];
  onShape.for(losses)(
    'when %s is lost, the request is resent, and every ticket gets exactly one order',
    async ([, ...what]) => {
      const lost = await lose(...what);
      const { sale } = await admitted(30);
      const done = await over(on.url, sale.id);
      expect(await lost(sale.id)).toBe(30);
      expect(done.counts).toMatchObject({ admitted: 30, ordered: 30, released: 0 });
    },
  );

  onShape('tickets wait while the order service is away, and get their orders when it is back', async () => {
    const [shop] = on.system.processes('order') as [ServiceProcess];
    expect((await shop.stop()).code).toBe(0);
    const { sale, tickets } = await admitted(30);
    await eventually(async () => (await readSale(on.url, sale.id)).queue.length === 0, {
      what: 'all tickets have left the queue',
    });
    const [row] = await eventually(
      async () => {
        const rows = await query<{ resends: number }>(
          on.databaseUrl,
          `SELECT min(resends)::int AS resends FROM sluice_flash_sale.tickets WHERE sale_id = '${sale.id}'`,
        );
        return Number(rows[0]?.resends) > 1 && rows;
      },
      { what: 'the requests to the order service are resent' },
    );
    expect(row?.resends).toBeGreaterThan(1);
    for (const id of tickets) expect(await readTicket(on.url, sale.id, id)).toEqual({ status: 'accepted' });
    expect((await readSale(on.url, sale.id)).stock).toMatchObject({ remaining: 0, held: 30, sold: 0 });
    await shop.start();
    expect((await over(on.url, sale.id)).counts).toMatchObject({ ordered: 30, released: 0 });
  });

  onShape(
    'when a process is killed, another one continues to drain, including sales that it did not create',
    async () => {
      const [first, second] = on.system.processes('flash-sale') as [ServiceProcess, ServiceProcess];
      const pace = 20;
      const sale = await createSale(first.url, { stock: 400, queueCap: 400, drainPerSecond: pace });
      const left = async (at: string) => {
        const { counts, queue } = await readSale(at, sale.id);
        return counts.admitted - queue.length;
      };
      const come = async (at: string) =>
        expect(countByResult(await buyers.rush([at], sale.id, freshUsers(60)))).toEqual({ 202: 60 });
      // No buyer came yet, so the process that created the sale may not even have opened its queue.
      await first.kill();
      await come(second.url);
      await eventually(async () => (await left(second.url)) >= 10, { what: 'the other process drains the sale' });
      await first.start();
      // One of the two has drained it until now.
      for (const [victim, other] of [
        [second, first],
        [first, second],
      ] as const) {
        await come(victim.url);
        await victim.kill();
        const before = await left(other.url);
        await eventually(async () => (await left(other.url)) >= before + 10, {
          what: 'the other process continues',
          timeoutMs: 20_000,
        });
        await victim.start();
      }
      const paced = await query<{ most: number }>(
        on.databaseUrl,
        `SELECT max(n)::int AS most FROM (SELECT count(*) OVER (ORDER BY accepted_at
         RANGE BETWEEN CURRENT ROW AND interval '2 s' FOLLOWING) AS n
       FROM sluice_flash_sale.tickets WHERE sale_id = '${sale.id}' AND accepted_at IS NOT NULL) AS intervals`,
      );
      // Jobs that were running when their process died run in addition to the others.
      expect(paced[0]?.most).toBeLessThanOrEqual(2 * pace * 1.5 + 1);
      expect((await over(on.url, sale.id)).counts).toMatchObject({ ordered: 180, released: 0 });
    },
  );

  onShape('loses and duplicates no ticket or order in these tests', async () => {
    await eventually(() => isDrained(on.databaseUrl), { what: 'everything is done', timeoutMs: 25_000 });
    const verdict = await checkInvariants({ databaseUrl: on.databaseUrl }, { buyers: buyers.log });
    expect(verdict).toMatchObject({ violations: [], failed: [], lost: 0, duplicated: 0 });
    expect(verdict.orders).toBe(buyers.log.size);
  });
});

/** A queue that stalls for this long is reopened. */
const SOON = { WATCHDOG_MS: '3000' };

/** A sale that is being drained by a system of its own. */
async function halfDrained(system: System) {
  const url = String(gatewaysOf(system)[0]);
  const sale = await createSale(url, { stock: 200, queueCap: 200, drainPerSecond: 20 });
  const bought = await new Buyers().rush(gatewaysOf(system), sale.id, freshUsers(100));
  expect(countByResult(bought)).toEqual({ 202: 100 });
  await eventually(async () => (await readSale(url, sale.id)).counts.ordered > 5, {
    what: 'the sale is being drained',
  });
  return { url, sale };
}

/** Resolves when the log of a process says so. */
const reopened = (system: System) =>
  eventually(
    async () => {
      const outputs = await Promise.all(system.processes('flash-sale').map((process) => process.output()));
      return outputs.some((output) => output.includes('job queue stalled, reopening it'));
    },
    { what: 'the stalled job queue is reopened', timeoutMs: 30_000 },
  );

// At the same time, because most of it passes in silence.
describe.concurrent('a stalled job queue', () => {
  test.skipIf(!redis.available)(
    'is reopened if its connections to Redis are open but dead',
    async ({ onTestFinished }) => {
      const proxy = await startProxy(String(servers.redisUrl));
      onTestFinished(() => proxy.close());
      const system = await redis.start({ ...SOON, REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
      onTestFinished(() => system.remove());
      const { url, sale } = await halfDrained(system);
      proxy.swallow(true);
      const before = await readSale(url, sale.id);
      await eventually(
        async () => {
          const { resources } = (await call(`${url}/readyz`)).json(schemas.readiness);
          return resources.queues?.status !== 'up';
        },
        { what: 'the gateway notices that Redis is silent' },
      );
      // Purchases are still decided.
      expect(countByResult(await new Buyers().rush(gatewaysOf(system), sale.id, freshUsers(8)))).toEqual({ 202: 8 });
      // Data under way is lost without an error, and the open connections stay silent.
      proxy.swallow(false);
      expect(before.queue.length).toBeGreaterThan(0);
      expect((await over(url, sale.id)).counts).toMatchObject({ ordered: 108, released: 0 });
    },
  );

  test.skipIf(!postgres.available)(
    'is reopened if PostgreSQL hands out none of its jobs',
    async ({ onTestFinished }) => {
      const system = await postgres.start(SOON);
      onTestFinished(() => system.remove());
      const { url, sale } = await halfDrained(system);
      // A process whose clock is years ahead would write this.
      const held = await query(
        String(system.databaseUrl),
        `INSERT INTO bullmq.rate_limit (queue, points, expire_at_ms)
     VALUES ('${system.prefix}.flash-sale-${sale.id}', 1000000, 9000000000000)
     ON CONFLICT (queue) DO UPDATE SET points = 1000000, expire_at_ms = 9000000000000 RETURNING queue`,
      );
      expect(held.length).toBe(1);
      await reopened(system);
      expect((await over(url, sale.id)).counts).toMatchObject({ ordered: 100, released: 0 });
    },
  );
});
