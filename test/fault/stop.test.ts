// SIGTERM under load, one process after the other, as in a rolling update.
import { expect, inject, test } from 'vitest';
import { conclude } from './support/conclude.ts';
import { Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import { eitherRoles, faultWith, startSystem } from './support/system.ts';

/** I7 */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');

test.each(eitherRoles)('gives no client a 5xx while every process is restarted in turn, roles %s', async (roles) => {
  const schedule = newSchedule();
  const { processes, databaseUrl } = await startSystem({
    roles,
    postgresUrl: servers.databaseUrl,
    mqttUrl: servers.mosquittoUrl,
    amqpUrl: servers.amqpUrl,
    processes: [['order'], ['order'], ['points'], ['coupon'], ['notify'], ['flash-sale']],
  });
  const gateways = processes.slice(0, 2);
  const load = new Load({ urls: gateways.map(({ url }) => url), schedule });
  for (let round = 0; round < rounds; round++) {
    for (const each of processes) {
      await load.morePlaced(20);
      await schedule.runFor(0, 200);
      expect(await each.stop()).toEqual({ code: 0, signal: null });
      await each.start();
    }
  }
  const over = performance.now();
  const { failed } = await conclude({
    fault: faultWith(roles, 'SIGTERM under load, every process'),
    rounds,
    databaseUrl,
    load,
    over,
    withinMs: DONE_WITHIN_MS,
  });
  expect(failed).toEqual([]);
  const errors = [...load.statuses.keys()].filter((status) => typeof status === 'number' && status >= 400);
  expect(errors).toEqual([]);
});
