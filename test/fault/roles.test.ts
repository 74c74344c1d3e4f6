// The HTTP side and the work behind it in processes of their own. Each is killed under load: the other goes on, and
// nothing is lost.
import { expect, inject, test } from 'vitest';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import { readReadiness } from '../setup/api.ts';
import { eventually } from '../setup/wait.ts';
import { isDrained } from './support/checker.ts';
import { conclude } from './support/conclude.ts';
import { Load } from './support/load.ts';
import { openSale } from './support/sale.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import type { ServiceProcess } from './support/service-process.ts';
import { count } from './support/sql.ts';
import { type SystemOptions, startSystem } from './support/system.ts';

/** I7 */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');
const resources = { postgresUrl: servers.databaseUrl, mqttUrl: servers.mosquittoUrl };

async function startApart(options: Partial<SystemOptions>) {
  const system = await startSystem({
    ...resources,
    processes: [
      [...serviceNames, '--role=web'],
      [...serviceNames, '--role=worker'],
    ],
    ...options,
  });
  const [web, worker] = system.processes as [ServiceProcess, ServiceProcess];
  return { ...system, web, worker };
}

const consumerOf = async ({ url }: ServiceProcess, service: ServiceName) =>
  (await readReadiness(url)).consumers[service];

test('loses no order when the worker or the web process is killed, and the other one goes on', async () => {
  const schedule = newSchedule();
  const { web, worker, databaseUrl } = await startApart({ amqpUrl: servers.amqpUrl });
  const load = new Load({ urls: [web.url], schedule });
  const completed = () => count(databaseUrl, `sluice_order.progress WHERE status = 'completed'`);
  for (let round = 0; round < rounds; round++) {
    await load.morePlaced(20);
    await worker.kill();
    await load.morePlaced(40); // accepted although nobody works
    await eventually(async () => (await consumerOf(web, 'points'))?.detail?.startsWith('no worker runs'), {
      what: 'the web process notices that no worker runs',
    });
    await worker.start();
    await eventually(async () => (await consumerOf(web, 'points'))?.status === 'up', { what: 'the worker is back' });

    worker.freeze(true); // so that orders are left for it when the web process ends
    await load.morePlaced(20);
    await web.kill();
    const before = await completed();
    worker.freeze(false);
    await eventually(() => isDrained(databaseUrl), { what: 'all is done without the web process', timeoutMs: 20_000 });
    expect(await completed()).toBeGreaterThan(before);
    await web.start();
  }
  const over = performance.now();
  const fault = 'kill -9 of the worker and of the web process in turn';
  const { failed } = await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
});

test.each(['outbox.before-publish', 'outbox.before-delete'] as const)(
  'a worker publishes what a web process that crashed at %s has committed',
  async (failpoint) => {
    const schedule = newSchedule();
    const { web, databaseUrl } = await startApart({ env: { EVENT_BUS: 'local' } });
    const load = new Load({ urls: [web.url], schedule });
    await web.kill();
    await web.launch({ FAILPOINT: failpoint });
    expect(await web.ended(30_000)).toEqual({ code: null, signal: 'SIGKILL' });
    const over = performance.now();
    await web.start();
    const fault = `crash of a web process at ${failpoint}`;
    const { failed } = await conclude({ fault, rounds: 1, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
    expect(failed).toEqual([]);
  },
);

test('loses no ticket when the worker or the web process is killed during a sale', async () => {
  const schedule = newSchedule();
  const { web, worker, databaseUrl } = await startApart({ env: { EVENT_BUS: 'local' } });
  const terms = { stock: 100_000, queueCap: 60, drainPerSecond: 60 };
  const { buyers } = await openSale({ databaseUrl, gateways: [web] }, schedule, terms);
  buyers.arrive(100);
  for (let kill = 0; kill < 2 * rounds; kill++) {
    await buyers.moreAdmitted(terms.queueCap / 2);
    const victim = kill % 2 === 0 ? worker : web;
    await schedule.runFor(0, 1_000);
    await victim.kill();
    await victim.start();
  }
  const over = performance.now();
  await buyers.moreAdmitted(terms.queueCap);
  const fault = 'kill -9 of the worker and of the web process, in a sale';
  const { failed } = await conclude({ fault, rounds: 2 * rounds, databaseUrl, buyers, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
});
