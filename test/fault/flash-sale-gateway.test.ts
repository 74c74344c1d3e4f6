// Processes of the flash-sale service die during a sale, between two durable steps and at random times. Every admitted
// buyer is served, and a buyer without a response may repeat the request at any gateway.
import { expect, inject, test } from 'vitest';
import type { Failpoint } from '../../app/config.ts';
import { createSale } from '../service/support/flash-sales.ts';
import { eventually } from '../setup/wait.ts';
import { Buyers } from './support/buyers.ts';
import { checkInvariants } from './support/checker.ts';
import { conclude, judge } from './support/conclude.ts';
import { isDone } from './support/done.ts';
import { fastestPace, openSale, startSaleSystem } from './support/sale.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import { count } from './support/sql.ts';
import { createEmbedded, faultWith } from './support/system.ts';

/** I7. On Redis, a job that was running when its process was killed is taken over after 10 to 15 s. */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');
const resources = { postgresUrl: servers.databaseUrl, mqttUrl: servers.mosquittoUrl };
const queued = `sluice_flash_sale.tickets WHERE status = 'queued'`;

test.each<Failpoint>(['admission.before-commit', 'admission.after-commit'])(
  'loses no ticket when two of four gateways crash at %s during a burst',
  async (failpoint) => {
    const schedule = newSchedule();
    const system = await startSaleSystem({ ...resources, amqpUrl: servers.amqpUrl, gateways: 4 });
    const { gateways, databaseUrl } = system;
    const { buyers } = await openSale(system, schedule, { stock: 100_000, queueCap: 150, drainPerSecond: 100 });
    const doomed = gateways.slice(2);
    for (let round = 0; round < rounds; round++) {
      await Promise.all(doomed.map((each) => each.kill()));
      await Promise.all(doomed.map((each) => each.start({ FAILPOINT: failpoint })));
      await eventually(async () => (await count(databaseUrl, queued)) === 0, { what: 'the queue is empty' });
      const burst = buyers.burst(200);
      for (const each of doomed) expect(await each.ended(30_000)).toEqual({ code: null, signal: 'SIGKILL' });
      await burst;
      await Promise.all(doomed.map((each) => each.start()));
    }
    const over = performance.now();
    const fault = `gateways crash at ${failpoint}, in a burst`;
    const { failed } = await conclude({ fault, rounds, databaseUrl, buyers, over, withinMs: DONE_WITHIN_MS });
    expect(failed).toEqual([]);
    expect(buyers.statuses.get('unknown'), 'no request was under way at a gateway that crashed').toBeGreaterThan(0);
    if (failpoint === 'admission.before-commit') return;
    // A buyer with a committed ticket and no response gets the ticket when the request is repeated.
    const notInformed = [...buyers.log.values()].filter(
      ({ answers }) => answers.some(({ status }) => status === 200) && !answers.some(({ status }) => status === 202),
    );
    expect(notInformed.length).toBeGreaterThan(0);
  },
);

test('places one order for a ticket whose job was killed twice, on Redis and on PostgreSQL', async () => {
  // At the same time, because most of it passes until the locks of the dead processes expire.
  await Promise.all([killedTwice('Redis', servers.redisUrl), killedTwice('PostgreSQL', undefined)]);
});

async function killedTwice(pacedBy: string, redisUrl: string | undefined): Promise<void> {
  const schedule = newSchedule();
  const system = await startSaleSystem({ ...resources, redisUrl, gateways: 1 });
  const { process, databaseUrl } = system;
  const { buyers } = await openSale(system, schedule, { stock: 1, queueCap: 1, drainPerSecond: 10 });
  const drains = process('flash-sale');
  await drains.kill();
  await drains.launch({ FAILPOINT: 'ticket.before-accept' });
  const answered = buyers.burst(1);
  for (let death = 0; death < 2; death++) {
    if (death > 0) await drains.launch({ FAILPOINT: 'ticket.before-accept' });
    expect(await drains.ended(30_000)).toEqual({ code: null, signal: 'SIGKILL' });
    expect(await count(databaseUrl, queued)).toBe(1);
  }
  await drains.start();
  const over = performance.now();
  await answered;
  const fault = `killed twice in the job of one ticket, ${pacedBy}`;
  const { orders, failed } = await conclude({
    fault,
    rounds: 1,
    databaseUrl,
    buyers,
    over,
    withinMs: DONE_WITHIN_MS,
  });
  expect(failed, fault).toEqual([]);
  expect(orders, fault).toBe(1);
}

test.each([
  { pacedBy: 'Redis', redisUrl: servers.redisUrl, roles: 'apart' },
  { pacedBy: 'PostgreSQL', redisUrl: undefined, roles: 'apart' },
  { pacedBy: 'PostgreSQL', redisUrl: undefined, roles: 'together' },
] as const)(
  'loses no ticket on $pacedBy while one of two processes that drain is killed every two seconds, roles $roles',
  async ({ pacedBy, redisUrl, roles }) => {
    const schedule = newSchedule();
    const kills = Math.max(2, rounds);
    const terms = { stock: 100_000, queueCap: 60, drainPerSecond: 60 };
    const system = await startSaleSystem({ ...resources, redisUrl, roles, gateways: 2 });
    const { gateways, databaseUrl } = system;
    const { buyers } = await openSale(system, schedule, terms);
    buyers.arrive(100);
    for (let kill = 0; kill < kills; kill++) {
      await schedule.runFor(1_500, 2_500);
      // In turns, so that the process that drains alone is killed too.
      const victim = gateways[kill % gateways.length];
      await victim?.kill();
      await victim?.start();
    }
    const over = performance.now();
    await buyers.moreAdmitted(terms.queueCap);
    const fault = faultWith(roles, `kill -9 of a process that drains, every 2 s, ${pacedBy}`);
    const { failed } = await conclude({ fault, rounds: kills, databaseUrl, buyers, over, withinMs: DONE_WITHIN_MS });
    expect(failed).toEqual([]);
    expect(await fastestPace(databaseUrl, 3)).toBeLessThan(1.25 * terms.drainPerSecond);
  },
);

test('loses no ticket when the embedded system is killed during a sale', async () => {
  const schedule = newSchedule();
  const kills = Math.max(2, rounds);
  const { process, dataDir } = await createEmbedded({});
  await process.start();
  const terms = { stock: 100_000, queueCap: 40, drainPerSecond: 40 };
  const { id: saleId } = await createSale(process.url, terms);
  const buyers = new Buyers({ urls: [process.url], saleId, schedule });
  buyers.arrive(80);
  for (let kill = 0; kill < kills; kill++) {
    await buyers.moreAdmitted(terms.queueCap);
    await schedule.runFor(0, 1_000);
    await process.kill();
    await process.start();
  }
  const over = performance.now();
  await buyers.moreAdmitted(terms.queueCap);
  await buyers.stop();
  const timeoutMs = Math.max(1_000, over + DONE_WITHIN_MS - performance.now());
  const recoveryMs = await eventually(() => isDone(process.url, [], buyers.log), {
    what: 'everything is done',
    timeoutMs,
  }).then(
    () => performance.now() - over,
    () => null, // the checker reports what is missing
  );
  expect(await process.stop()).toEqual({ code: 0, signal: null });
  const verdict = await checkInvariants({ dataDir }, { buyers: buyers.log });
  judge({ fault: 'kill -9 of the embedded process, in a sale', rounds: kills, verdict, recoveryMs });
  expect(verdict.failed).toEqual([]);
});
