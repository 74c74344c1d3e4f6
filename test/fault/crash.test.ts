// Services in separate processes on RabbitMQ and PostgreSQL, killed under load: at random times, and between two
// durable steps.
import { expect, inject, test } from 'vitest';
import { conclude } from './support/conclude.ts';
import { crashEach, messagingFailpoints } from './support/crash.ts';
import { Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import { eitherRoles, faultWith, startSystem } from './support/system.ts';

/** I7 */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');
const resources = { postgresUrl: servers.databaseUrl, mqttUrl: servers.mosquittoUrl, amqpUrl: servers.amqpUrl };

test.each(eitherRoles)('loses no order if the order service is killed every two seconds, roles %s', async (roles) => {
  const schedule = newSchedule();
  const kills = Math.max(2, rounds);
  const { process, databaseUrl } = await startSystem({ ...resources, roles });
  const order = process('order');
  const load = new Load({ urls: [order.url], schedule });
  for (let kill = 0; kill < kills; kill++) {
    await schedule.runFor(1_500, 2_500);
    await order.kill();
    await order.start();
  }
  const fault = faultWith(roles, 'kill -9 of the order service every 2 s');
  const over = performance.now();
  const { failed } = await conclude({ fault, rounds: kills, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
});

test(`loses no order if each service crashes at ${messagingFailpoints.join(', ')}`, {
  timeout: messagingFailpoints.length * 180_000,
}, async () => {
  const schedule = newSchedule();
  const system = await startSystem(resources);
  const { process, databaseUrl } = system;
  for (const failpoint of messagingFailpoints) {
    const load = new Load({ urls: [process('order').url], schedule });
    for (let round = 0; round < rounds; round++) await crashEach(system, ['points', 'coupon', 'notify'], failpoint);
    const fault = `crash at ${failpoint}, each service`;
    const over = performance.now();
    const { failed } = await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
    expect(failed, fault).toEqual([]);
  }
});

test.each(eitherRoles)('loses no order if a process is frozen for longer than its leases, roles %s', async (roles) => {
  const schedule = newSchedule();
  const { processes, databaseUrl, env } = await startSystem({
    ...resources,
    roles,
    processes: [['order'], ['order'], ['points', 'coupon', 'notify', 'flash-sale'], ['points', 'coupon', 'notify']],
  });
  const load = new Load({ urls: processes.slice(0, 2).map(({ url }) => url), schedule });
  const leaseMs = Number(env.LEASE_MS);
  for (let round = 0; round < rounds; round++) {
    for (const each of [processes[0], processes[2]]) {
      await load.morePlaced(20);
      each?.freeze(true);
      await schedule.runFor(leaseMs, leaseMs + 1_000);
      each?.freeze(false);
    }
  }
  const over = performance.now();
  const fault = faultWith(roles, 'a process frozen for longer than its leases');
  const { failed } = await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
});
