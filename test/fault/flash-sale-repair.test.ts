// What is lost on the way from a ticket to its order is asked for again, and a queue is drained by whoever is there.
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test, vi } from 'vitest';
import type { Readiness } from '../../contracts/operations.ts';
import { call } from '../service/support/api.ts';
import {
  admittedOf,
  Buyers,
  createSale,
  freshUsers,
  gatewaysOf,
  over,
  readSale,
  readTicket,
  tally,
  ticketOf,
} from '../service/support/flash-sales.ts';
import { gatewaysOnPostgres, gatewaysOnRedis, type Shape, type System } from '../service/support/systems.ts';
import { startProxy } from '../setup/proxy.ts';
import { eventually } from '../setup/wait.ts';
import { checkInvariants, isDrained } from './support/checker.ts';
import { keepJournal } from './support/sale-journal.ts';
import type { ServiceProcess } from './support/service-process.ts';
import { query } from './support/sql.ts';

// Seconds where the machine is quiet.
vi.setConfig({ testTimeout: 120_000 });

const servers = inject('servers');
const postgres = gatewaysOnPostgres(servers);
const redis = gatewaysOnRedis(servers);
const shapes = [postgres, redis].map((shape) => [shape.name, shape] as [string, Shape]);

describe.for(shapes)('%s', ([, shape]) => {
  const onShape = test.skipIf(!shape.available);

  let system: System;
  let gateways: string[];
  let url: string;
  let databaseUrl: string;
  const buyers = new Buyers();
  beforeAll(async () => {
    if (!shape.available) return;
    system = await shape.start({ ASK_AGAIN_MS: '500', LEASE_MS: '3000', PUBLISH_TIMEOUT_MS: '1000' });
    gateways = gatewaysOf(system);
    url = String(gateways[0]);
    databaseUrl = String(system.databaseUrl);
    await keepJournal(databaseUrl);
  });
  afterAll(() => system?.remove());

  /** Tickets for that many users, by all gateways. */
  async function admitted(count: number, changes: object = {}) {
    const sale = await createSale(url, { stock: count, queueCap: count, drainPerSecond: 100, ...changes });
    const bought = await buyers.rush(gateways, sale.id, freshUsers(count));
    expect(tally(bought)).toEqual({ 202: count });
    return { sale, tickets: admittedOf(bought).map(({ answer }) => ticketOf(answer).ticketId) };
  }

  /** The first event of this type about each subject does not get into the table. Answers how many were lost. */
  async function lose(table: string, type: string) {
    await query(
      databaseUrl,
      `CREATE TABLE lost (subject text PRIMARY KEY);
       CREATE FUNCTION lose_the_first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         INSERT INTO public.lost VALUES (NEW.subject) ON CONFLICT DO NOTHING;
         IF FOUND THEN RETURN NULL; END IF;
         RETURN NEW;
       END $$;
       CREATE TRIGGER lose_the_first BEFORE INSERT ON ${table} FOR EACH ROW
         WHEN (NEW.type = '${type}') EXECUTE FUNCTION lose_the_first()`,
    );
    return async () => {
      const rows = await query(databaseUrl, 'SELECT subject FROM lost');
      await query(databaseUrl, `DROP FUNCTION lose_the_first CASCADE; DROP TABLE lost`);
      return rows.length;
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
    const done = await over(url, sale.id);
    expect(await lost()).toBe(30);
    expect(done.counts).toMatchObject({ admitted: 30, ordered: 30, released: 0 });
  });

  onShape('while the order service is away tickets wait, and get their orders once it is back', async () => {
    const [shop] = system.processes('order') as [ServiceProcess];
    expect((await shop.stop()).code).toBe(0);
    const { sale, tickets } = await admitted(30);
    await eventually(async () => (await readSale(url, sale.id)).queue.length === 0, {
      what: 'all have left the queue',
    });
    const [row] = await eventually(
      async () => {
        const rows = await query<{ asked: number }>(
          databaseUrl,
          `SELECT min(asked)::int AS asked FROM sluice_flash_sale.tickets WHERE sale_id = '${sale.id}'`,
        );
        return Number(rows[0]?.asked) > 1 && rows;
      },
      { what: 'the order service is asked again' },
    );
    expect(row?.asked).toBeGreaterThan(1);
    for (const id of tickets) expect(await readTicket(url, sale.id, id)).toEqual({ status: 'accepted' });
    expect((await readSale(url, sale.id)).stock).toMatchObject({ remaining: 0, held: 30, sold: 0 });
    await shop.start();
    expect((await over(url, sale.id)).counts).toMatchObject({ ordered: 30, released: 0 });
  });

  onShape('whoever is killed, another process goes on draining, also what it did not create', async () => {
    const [first, second] = system.processes('flash-sale') as [ServiceProcess, ServiceProcess];
    const sale = await createSale(first.url, { stock: 400, queueCap: 400, drainPerSecond: 10 });
    const left = async (at: string) => {
      const { counts, queue } = await readSale(at, sale.id);
      return counts.admitted - queue.length;
    };
    const come = async (at: string) =>
      expect(tally(await buyers.rush([at], sale.id, freshUsers(60)))).toEqual({ 202: 60 });
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
      databaseUrl,
      `SELECT max(n)::int AS most FROM (SELECT count(*) OVER (ORDER BY accepted_at
         RANGE BETWEEN CURRENT ROW AND interval '2 s' FOLLOWING) AS n
       FROM sluice_flash_sale.tickets WHERE sale_id = '${sale.id}' AND accepted_at IS NOT NULL) AS stretches`,
    );
    // What had begun when its process died runs besides the others.
    expect(paced[0]?.most).toBeLessThanOrEqual(2 * 10 * 1.5 + 1);
    expect((await over(url, sale.id)).counts).toMatchObject({ ordered: 180, released: 0 });
  });

  onShape('of all this nothing is lost and nothing is there twice', async () => {
    await eventually(() => isDrained(databaseUrl), { what: 'everything is done', timeoutMs: 25_000 });
    const verdict = await checkInvariants({ databaseUrl }, new Map(), buyers.log);
    expect(verdict).toMatchObject({ violations: [], failed: [], lost: 0, duplicated: 0 });
    expect(verdict.orders).toBe(buyers.log.size);
  });
});

/** A sale in the middle of being drained by a system of its own. */
async function halfDrained(system: System) {
  const url = String(gatewaysOf(system)[0]);
  const sale = await createSale(url, { stock: 200, queueCap: 200, drainPerSecond: 20 });
  const bought = await new Buyers().rush(gatewaysOf(system), sale.id, freshUsers(100));
  expect(tally(bought)).toEqual({ 202: 100 });
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

test.skipIf(!redis.available)(
  'a queue whose connections to Redis have fallen silent is opened anew',
  async () => {
    const proxy = await startProxy(String(servers.redisUrl));
    onTestFinished(() => proxy.close());
    const system = await redis.start({ REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
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
    expect(tally(await new Buyers().rush(gatewaysOf(system), sale.id, freshUsers(8)))).toEqual({ 202: 8 });
    // Whatever was on its way is lost, and nobody is told: connections that are open now stay silent for ever.
    proxy.swallow(false);
    expect(before.queue.length).toBeGreaterThan(0);
    expect((await over(url, sale.id)).counts).toMatchObject({ ordered: 108, released: 0 });
  },
  120_000,
);

test.skipIf(!postgres.available)(
  'a queue that PostgreSQL holds back for ever is opened anew',
  async () => {
    const system = await postgres.start();
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
  },
  120_000,
);
