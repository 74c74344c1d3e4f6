// PostgreSQL, which holds the tickets and here also the queue, stops without warning and restarts during a sale.
import { expect, inject, onTestFinished, test } from 'vitest';
import { startPostgres } from '../servers/postgres.ts';
import { eventually } from '../setup/wait.ts';
import { conclude } from './support/conclude.ts';
import { openSale, startSaleSystem } from './support/sale.ts';
import { newSchedule, rounds } from './support/schedule.ts';

/** I7 */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');

test('responds with 503 and Retry-After without PostgreSQL, and serves every admitted buyer afterwards', async () => {
  const schedule = newSchedule();
  // A server of this test's own, to be killed.
  const postgres = await startPostgres();
  onTestFinished(() => postgres.stop());
  const system = await startSaleSystem({
    postgresUrl: postgres.url,
    mqttUrl: servers.mosquittoUrl,
    amqpUrl: servers.amqpUrl,
    gateways: 2,
  });
  const { processes, databaseUrl } = system;
  const pids = processes.map(({ pids }) => pids);
  const terms = { stock: 100_000, queueCap: 60, drainPerSecond: 60 };
  const { buyers } = await openSale(system, schedule, terms);
  buyers.arrive(100);
  for (let round = 0; round < rounds; round++) {
    await buyers.moreAdmitted(60);
    await schedule.runFor(0, 500);
    await postgres.kill('SIGQUIT'); // pg_ctl stop -m immediate
    const before = buyers.statuses.get(503) ?? 0;
    await eventually(() => (buyers.statuses.get(503) ?? 0) > before + 100, { what: 'buyers get 503' });
    await schedule.runFor(500, 1_500);
    await postgres.restart();
  }
  const over = performance.now();
  await buyers.moreAdmitted(2 * terms.queueCap);
  const { failed } = await conclude({
    fault: 'PostgreSQL ends at once (-m immediate), in a sale',
    rounds,
    databaseUrl,
    buyers,
    over,
    withinMs: DONE_WITHIN_MS,
  });
  expect(failed).toEqual([]);
  expect([...buyers.statuses.keys()].filter((status) => ![200, 202, 429, 503].includes(Number(status)))).toEqual([]);
  const rejected = buyers.answers.filter(({ status }) => status === 503);
  expect(rejected.every(({ retryAfter }) => Number(retryAfter) >= 1)).toBe(true);
  expect(processes.map(({ pids }) => pids)).toEqual(pids);
});
