// What is lost on the way from a ticket to its order is asked for again, and a queue is drained by whoever is there.
import { describe, expect, inject, test, vi } from 'vitest';
import type { Readiness } from '../../contracts/operations.ts';
import { call } from '../service/support/api.ts';
import { onEachShape } from '../service/support/each-shape.ts';
import {
  admittedOf,
  Buyers,
  countOutcomes,
  createSale,
  freshUsers,
  gatewaysOf,
  over,
  readSale,
  readTicket,
  ticketOf,
} from '../service/support/flash-sales.ts';
import { gatewaysOnPostgres, gatewaysOnRedis, type System } from '../service/support/systems.ts';
import { startProxy } from '../setup/proxy.ts';
import { eventually } from '../setup/wait.ts';
import { checkInvariants, isDrained } from './support/checker.ts';
import { keepJournal } from './support/sale-journal.ts';
import type { ServiceProcess } from './support/service-process.ts';
import { count, query } from './support/sql.ts';

// Seconds where the machine is quiet.
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

  /** Tickets for that many users, by all gateways. */
  async function admitted(count: number, changes: object = {}) {
    const sale = await createSale(on.url, { stock: count, queueCap: count, drainPerSecond: 100, ...changes });
    const bought = await buyers.rush(on.gateways, sale.id, freshUsers(count));
    expect(countOutcomes(bought)).toEqual({ 202: count });
    return { sale, tickets: admittedOf(bought).map(({ answer }) => ticketOf(answer).ticketId) };
  }

  /**
   * The first event of this type about each subject does not get into the table. Answers how many of a sale were lost:
   * of the sale before, orders that are not completed yet may be asked for meanwhile.
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
  onShape.for(losses)('%s is lost: it is asked for again, and every ticket has its one order', async ([, ...what]) => {
    const lost = await lose(...what);
    const { sale } = await admitted(30);
    const done = await over(on.url, sale.id);
    expect(await lost(sale.id)).toBe(30);
    expect(done.counts).toMatchObject({ admitted: 30, ordered: 30, released: 0 });
  });

  onShape('while the order service is away tickets wait, and get their orders once it is back', async () => {
    const [shop] = on.system.processes('order') as [ServiceProcess];
    expect((await shop.stop()).code).toBe(0);
    const { sale, tickets } = await admitted(30);
    await eventually(async () => (await readSale(on.url, sale.id)).queue.length === 0, {
      what: 'all have left the queue',
    });
    const [row] = await eventually(
      async () => {
        const rows = await query<{ asked: number }>(
          on.databaseUrl,
          `SELECT min(asked)::int AS asked FROM sluice_flash_sale.tickets WHERE sale_id = '${sale.id}'`,
        );
        return Number(rows[0]?.asked) > 1 && rows;
      },
      { what: 'the order service is asked again' },
    );
    expect(row?.asked).toBeGreaterThan(1);
    for (const id of tickets) expect(await readTicket(on.url, sale.id, id)).toEqual({ status: 'accepted' });
    expect((await readSale(on.url, sale.id)).stock).toMatchObject({ remaining: 0, held: 30, sold: 0 });
    await shop.start();
    expect((await over(on.url, sale.id)).counts).toMatchObject({ ordered: 30, released: 0 });
  });

  onShape('whoever is killed, another process goes on draining, also what it did not create', async () => {
    const [first, second] = on.system.processes('flash-sale') as [ServiceProcess, ServiceProcess];
    const pace = 20;
    const sale = await createSale(first.url, { stock: 400, queueCap: 400, drainPerSecond: pace });
    const left = async (at: string) => {
      const { counts, queue } = await readSale(at, sale.id);
      return counts.admitted - queue.length;
    };
    const come = async (at: string) =>
      expect(countOutcomes(await buyers.rush([at], sale.id, freshUsers(60)))).toEqual({ 202: 60 });
    // Nobody has bought yet: who created it may not even have opened its queue.
    await first.kill();
    await come(second.url);
    await eventually(async () => (await left(second.url)) >= 10, { what: 'the other one drains it' });
    await first.start();
    // One of the two is whoever drained it until now.
    for (const [victim, other] of [
      [second, first],
      [first, second],
    ] as const) {
      await come(victim.url);
      await victim.kill();
      const before = await left(other.url);
      await eventually(async () => (await left(other.url)) >= before + 10, {
        what: 'the other one goes on',
        timeoutMs: 20_000,
      });
      await victim.start();
    }
    const paced = await query<{ most: number }>(
      on.databaseUrl,
      `SELECT max(n)::int AS most FROM (SELECT count(*) OVER (ORDER BY accepted_at
         RANGE BETWEEN CURRENT ROW AND interval '2 s' FOLLOWING) AS n
       FROM sluice_flash_sale.tickets WHERE sale_id = '${sale.id}' AND accepted_at IS NOT NULL) AS stretches`,
    );
    // What had begun when its process died runs besides the others.
    expect(paced[0]?.most).toBeLessThanOrEqual(2 * pace * 1.5 + 1);
    expect((await over(on.url, sale.id)).counts).toMatchObject({ ordered: 180, released: 0 });
  });

  onShape('of all this nothing is lost and nothing is there twice', async () => {
    await eventually(() => isDrained(on.databaseUrl), { what: 'everything is done', timeoutMs: 25_000 });
    const verdict = await checkInvariants({ databaseUrl: on.databaseUrl }, new Map(), buyers.log);
    expect(verdict).toMatchObject({ violations: [], failed: [], lost: 0, duplicated: 0 });
    expect(verdict.orders).toBe(buyers.log.size);
  });
});

/** What is silent for this long is rebuilt. */
const SOON = { WATCHDOG_MS: '3000' };

/** A sale in the middle of being drained by a system of its own. */
async function halfDrained(system: System) {
  const url = String(gatewaysOf(system)[0]);
  const sale = await createSale(url, { stock: 200, queueCap: 200, drainPerSecond: 20 });
  const bought = await new Buyers().rush(gatewaysOf(system), sale.id, freshUsers(100));
  expect(countOutcomes(bought)).toEqual({ 202: 100 });
  await eventually(async () => (await readSale(url, sale.id)).counts.ordered > 5, { what: 'it is being drained' });
  return { url, sale };
}

/** Every process tells, in its log. */
const openedAnew = (system: System) =>
  eventually(
    async () => {
      const outputs = await Promise.all(system.processes('flash-sale').map((process) => process.output()));
      return outputs.some((output) => output.includes('the queue is silent: opened anew'));
    },
    { what: 'the silent queue is opened anew', timeoutMs: 30_000 },
  );

// Side by side: most of their time is the silence.
describe.concurrent('a silent queue', () => {
  test.skipIf(!redis.available)(
    'whose connections to Redis are open and dead is opened anew',
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
          const { resources } = (await call(`${url}/readyz`)).json<Readiness>();
          return resources.queues?.status !== 'up';
        },
        { what: 'it is noticed that Redis is silent' },
      );
      // Purchases are decided all the same.
      expect(countOutcomes(await new Buyers().rush(gatewaysOf(system), sale.id, freshUsers(8)))).toEqual({ 202: 8 });
      // Whatever was on its way is lost, and nobody is told: connections that are open now stay silent for ever.
      proxy.swallow(false);
      expect(before.queue.length).toBeGreaterThan(0);
      expect((await over(url, sale.id)).counts).toMatchObject({ ordered: 108, released: 0 });
    },
  );

  test.skipIf(!postgres.available)('that PostgreSQL holds back for ever is opened anew', async ({ onTestFinished }) => {
    const system = await postgres.start(SOON);
    onTestFinished(() => system.remove());
    const { url, sale } = await halfDrained(system);
    // As by a process whose clock was years ahead.
    const held = await query(
      String(system.databaseUrl),
      `INSERT INTO bullmq.rate_limit (queue, points, expire_at_ms)
     VALUES ('${system.prefix}.flash-sale-${sale.id}', 1000000, 9000000000000)
     ON CONFLICT (queue) DO UPDATE SET points = 1000000, expire_at_ms = 9000000000000 RETURNING queue`,
    );
    expect(held.length).toBe(1);
    await openedAnew(system);
    expect((await over(url, sale.id)).counts).toMatchObject({ ordered: 100, released: 0 });
  });
});
