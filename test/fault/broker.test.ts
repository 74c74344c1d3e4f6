// RabbitMQ killed, filled up, and out of reach in the ways that networks have. Orders are answered meanwhile.
import { request } from 'undici';
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from 'vitest';
import { type Rabbitmq, startRabbitmq } from '../../infra/local/rabbitmq.ts';
import { startProxy } from '../setup/proxy.ts';
import { eventually } from '../setup/wait.ts';
import { openBroker } from './support/broker.ts';
import { conclude } from './support/conclude.ts';
import { Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import type { ServiceProcess } from './support/service-process.ts';
import { count } from './support/sql.ts';
import { startSystem } from './support/system.ts';

/** I7. Reconnecting alone may take 5 s. */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');
const resources = { postgresUrl: servers.databaseUrl, mqttUrl: servers.mosquittoUrl };

/** A server of its own, to be broken. */
let rabbitmq: Rabbitmq;
beforeAll(async () => {
  rabbitmq = await startRabbitmq();
});
afterAll(() => rabbitmq?.stop());

test('killed and restarted while events are published, it loses none that it confirmed', async () => {
  const schedule = newSchedule();
  const { process, databaseUrl } = await startSystem({ ...resources, amqpUrl: rabbitmq.amqpUrl });
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
    fault: 'RabbitMQ killed and restarted',
    rounds,
    databaseUrl,
    load,
    over,
    withinMs: DONE_WITHIN_MS,
  });
  expectOnlySuccess(load);
});

test('its connections are reset, cut during set-up, and swallow everything', async () => {
  const schedule = newSchedule();
  const proxy = await startProxy(rabbitmq.amqpUrl);
  onTestFinished(() => proxy.close());
  const amqpUrl = new URL(rabbitmq.amqpUrl);
  amqpUrl.port = String(proxy.port);
  amqpUrl.searchParams.set('heartbeat', '1'); // seconds: a silent connection is given up after two to three of these
  const { processes, process, databaseUrl } = await startSystem({ ...resources, amqpUrl: amqpUrl.href });
  const pids = processes.map(({ pid }) => pid);

  const faults: Record<string, () => Promise<void>> = {
    'connections to RabbitMQ reset': async () => {
      proxy.cut();
      await schedule.runFor(200, 600);
    },
    'connections to RabbitMQ cut during set-up': async () => {
      for (let cut = 0; cut < 20; cut++) {
        proxy.cut();
        await schedule.runFor(1, 150);
      }
    },
    'connections to RabbitMQ swallow everything': async () => {
      proxy.swallow(true);
      await schedule.runFor(3_000, 5_000);
      // What was swallowed is lost with its connection.
      proxy.cut();
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
    await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
    expectOnlySuccess(load);
  }
  expect(processes.map(({ pid }) => pid)).toEqual(pids);
});

test('while its disk is full orders are answered, consumers go on and memory is bounded', async () => {
  const schedule = newSchedule();
  const { process, databaseUrl, prefix } = await startSystem({ ...resources, amqpUrl: rabbitmq.amqpUrl });
  const order = process('order');
  const points = process('points');
  const load = new Load({ urls: [order.url], schedule, pace: 100 });
  // A backlog that is at the broker when its disk fills up.
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

/** The order service does not need the broker. */
function expectOnlySuccess(load: Load): void {
  expect([...load.statuses.keys()].filter((status) => status !== 200 && status !== 201)).toEqual([]);
}

async function residentBytes({ url }: ServiceProcess): Promise<number> {
  const { body } = await request(`${url}/metrics`);
  const [, bytes] = /^process_resident_memory_bytes (\S+)$/m.exec(await body.text()) ?? [];
  return Number(bytes);
}
