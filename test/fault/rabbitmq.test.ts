// RabbitMQ killed, with a full disk, unreachable in the ways in which networks fail, and with a message that kills
// every consumer. Orders are accepted meanwhile.
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from 'vitest';
import type { Environment } from '../../demos/shared/child-process.ts';
import { type Rabbitmq, startRabbitmq } from '../servers/rabbitmq.ts';
import { readMetrics } from '../setup/api.ts';
import { startProxy } from '../setup/proxy.ts';
import { eventually } from '../setup/wait.ts';
import { openBroker } from './support/broker.ts';
import { conclude } from './support/conclude.ts';
import { expectOnlySuccess, Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import { retryDead, type ServiceProcess, sluice } from './support/service-process.ts';
import { count, query } from './support/sql.ts';
import { eitherRoles, faultWith, processOfTest, startSystem } from './support/system.ts';

/** I7. Reconnecting alone may take 5 s. */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');
const doom = new URL('support/doom.js', import.meta.url).href;
const resources = { postgresUrl: servers.databaseUrl, mqttUrl: servers.mosquittoUrl };

/** A server of its own, to be broken. */
let rabbitmq: Rabbitmq;
beforeAll(async () => {
  rabbitmq = await startRabbitmq();
});
afterAll(() => rabbitmq?.stop());

test.each(eitherRoles)('loses no confirmed event when it is killed and restarted, roles %s', async (roles) => {
  const schedule = newSchedule();
  const { process, databaseUrl } = await startSystem({ ...resources, roles, amqpUrl: rabbitmq.amqpUrl });
  const load = new Load({ urls: [process('order').url], schedule });
  for (let round = 0; round < rounds; round++) {
    await load.morePlaced(40);
    await schedule.runFor(0, 500);
    await rabbitmq.kill();
    await load.morePlaced(40);
    await rabbitmq.restart();
  }
  const over = performance.now();
  await conclude({
    fault: faultWith(roles, 'RabbitMQ killed and restarted'),
    rounds,
    databaseUrl,
    load,
    over,
    withinMs: DONE_WITHIN_MS,
  });
  expectOnlySuccess(load);
});

test.each(eitherRoles)(
  'recovers when connections are reset, also during set-up, or silent, roles %s',
  async (roles) => {
    const schedule = newSchedule();
    const proxy = await startProxy(rabbitmq.amqpUrl);
    onTestFinished(() => proxy.close());
    const amqpUrl = new URL(rabbitmq.amqpUrl);
    amqpUrl.port = String(proxy.port);
    amqpUrl.searchParams.set('heartbeat', '1'); // seconds: a silent connection ends after two to three of these
    const { processes, process, databaseUrl } = await startSystem({ ...resources, roles, amqpUrl: amqpUrl.href });
    const pids = processes.map(({ pids }) => pids);

    const faults: Record<string, () => Promise<void>> = {
      'connections to RabbitMQ reset': async () => {
        proxy.sever();
        await schedule.runFor(200, 600);
      },
      'connections to RabbitMQ cut during set-up': async () => {
        for (let reset = 0; reset < 20; reset++) {
          proxy.sever();
          await schedule.runFor(1, 150);
        }
      },
      'connections to RabbitMQ accept data but never respond': async () => {
        proxy.swallow(true);
        await schedule.runFor(3_000, 5_000);
        // The dropped bytes are lost, so the connections have to end.
        proxy.sever();
        proxy.swallow(false);
      },
    };
    for (const [fault, happens] of Object.entries(faults)) {
      const load = new Load({ urls: [process('order').url], schedule });
      for (let round = 0; round < rounds; round++) {
        await load.morePlaced(30);
        await happens();
      }
      const over = performance.now();
      await conclude({ fault: faultWith(roles, fault), rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
      expectOnlySuccess(load);
    }
    expect(processes.map(({ pids }) => pids)).toEqual(pids);
  },
);

test('accepts orders, consumes and bounds memory while its disk is full', async () => {
  const schedule = newSchedule();
  const { process, databaseUrl, prefix } = await startSystem({
    ...resources,
    amqpUrl: rabbitmq.amqpUrl,
    env: { EVENTS_PER_MESSAGE: '1' }, // so that the broker counts events
  });
  const order = process('order');
  const points = process('points');
  const load = new Load({ urls: [order.url], schedule, pace: 100 });
  // A backlog at the broker before its disk is full.
  await points.stop();
  await load.morePlaced(100);
  const broker = await openBroker(rabbitmq.amqpUrl, prefix);
  const backlog = await eventually(() => broker.waiting('points'), { what: 'events wait for the points service' });
  const awarded = await count(databaseUrl, 'sluice_points.entries');
  await rabbitmq.ctl('set_disk_free_limit', '9000GB');
  onTestFinished(async () => {
    await rabbitmq.ctl('set_disk_free_limit', '50MB');
  });
  const before = await residentBytes(order);
  await points.start();
  await eventually(async () => (await count(databaseUrl, 'sluice_points.entries')) >= awarded + backlog, {
    what: 'the backlog is consumed during the alarm',
    timeoutMs: 20_000,
  });
  await load.morePlaced(400);
  expect((await residentBytes(order)) - before).toBeLessThan(100 * 1024 * 1024);

  await rabbitmq.ctl('set_disk_free_limit', '50MB');
  const fault = 'disk alarm of RabbitMQ';
  const over = performance.now();
  await conclude({ fault, rounds: 1, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expectOnlySuccess(load);
});

test('records a message that kills its consumer each time as dead, and handles the others', async () => {
  const system = await startDoomedSystem({ PREFETCH: '10', RETRY_ATTEMPTS: '2', EVENTS_PER_MESSAGE: '1' });
  const { process, databaseUrl, load, all, done, dead } = system;
  const { points, keepRunningUntil } = await system.startDoomedPoints();

  // RabbitMQ dead-letters it, and the messages that were unacknowledged with it each time.
  await keepRunningUntil(async () => (await done()) + (await dead()) === all, 'each message is handled or dead');
  expect(await dead()).toBeGreaterThanOrEqual(1);
  // After a retry, a message that was in a process that ended is tried alone.
  // The process may just have died once more.
  const retried = () =>
    retryDead(points, 'points').then(
      () => true,
      () => false,
    );
  await keepRunningUntil(retried, 'the dead messages are retried');
  await keepRunningUntil(async () => (await done()) === all - 1 && (await dead()) === 1, 'all others are handled');
  expect(system.deaths()).toBeGreaterThan(3);

  // A fixed consumer handles it.
  await points.kill();
  await process('points').start();
  await retryDead(process('points'), 'points');
  const over = performance.now();
  const fault = 'a message that kills its consumer each time';
  const { failed } = await conclude({ fault, rounds: 1, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
});

test('records the event of a batch that kills its consumer each time as dead, and handles the others', async () => {
  const system = await startDoomedSystem({ RETRY_ATTEMPTS: '2' });
  const { process, databaseUrl, prefix, load, all, done, dead, doomed } = system;
  const broker = await openBroker(rabbitmq.amqpUrl, prefix);
  // The orders of the shop are not delivered to the flash-sale service.
  expect(await broker.waiting('flash-sale')).toBe(0);
  const events = await broker.take('points');
  expect(events).toHaveLength(all);
  await broker.sendBatch('points', events);
  const { points, keepRunningUntil } = await system.startDoomedPoints();

  // RabbitMQ dead-letters the message; then each event is tried alone, without an operator.
  await keepRunningUntil(async () => (await done()) === all - 1 && (await dead()) === 1, 'all others are handled');
  expect(system.deaths()).toBeGreaterThan(5);
  const [guilty] = await query(databaseUrl, `SELECT subject, error FROM sluice_points.inbox WHERE status = 'dead'`);
  expect(guilty).toEqual({ subject: doomed, error: 'the process ended during the last of 2 attempts' });

  await points.kill();
  await process('points').start();
  await retryDead(process('points'), 'points');
  const over = performance.now();
  const fault = 'an event of a batch that kills its consumer each time';
  const { failed } = await conclude({ fault, rounds: 1, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
});

/** A system with orders, whose points service has stopped and will die of one of them. */
async function startDoomedSystem(settings: Environment) {
  const schedule = newSchedule();
  const { process, databaseUrl, prefix, env } = await startSystem({
    ...resources,
    amqpUrl: rabbitmq.amqpUrl,
    env: settings,
  });
  // The default limit of 20 would only take longer.
  await rabbitmq.ctl('set_policy', prefix, `^${prefix}\\.points$`, '{"delivery-limit":3}', '--apply-to', 'queues');
  onTestFinished(async () => {
    await rabbitmq.ctl('clear_policy', prefix);
  });
  await process('points').stop();
  const load = new Load({ urls: [process('order').url], schedule, cancels: 0 });
  await load.morePlaced(30);
  await load.stop();
  await eventually(async () => (await count(databaseUrl, 'sluice_order.outbox')) === 0, { what: 'all is published' });
  const sql = 'SELECT id FROM sluice_order.orders ORDER BY id OFFSET 15 LIMIT 1';
  const [doomed = ''] = (await query<{ id: string }>(databaseUrl, sql)).map(({ id }) => id);
  let deaths = 0;

  async function startDoomedPoints() {
    const args = ['--import', doom, ...sluice('points')];
    const points = await processOfTest('doomed-points', args, { ...env, DOOMED_ORDER: doomed });
    /** Restarts the process when it ends, as an orchestrator does. */
    const keepRunningUntil = (fact: () => Promise<boolean>, what: string) =>
      eventually(
        async () => {
          if (await fact()) return true;
          if (points.pids.length === 0) {
            deaths++;
            await points.launch();
          }
          return false;
        },
        { what, timeoutMs: 60_000 },
      );
    return { points, keepRunningUntil };
  }

  return {
    process,
    databaseUrl,
    prefix,
    load,
    doomed,
    all: await count(databaseUrl, 'sluice_order.orders'),
    done: () => count(databaseUrl, 'sluice_points.entries'),
    dead: () => count(databaseUrl, `sluice_points.inbox WHERE status = 'dead'`),
    deaths: () => deaths,
    startDoomedPoints,
  };
}

async function residentBytes({ url }: ServiceProcess): Promise<number> {
  const [, bytes] = /^process_resident_memory_bytes (\S+)$/m.exec(await readMetrics(url)) ?? [];
  return Number(bytes);
}
