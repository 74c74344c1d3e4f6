// PostgreSQL stops immediately and restarts, as after a power failure, while orders are placed.
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Postgres, startPostgres } from '../servers/postgres.ts';
import { eventually } from '../setup/wait.ts';
import { conclude } from './support/conclude.ts';
import { Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import { count } from './support/sql.ts';
import { eitherRoles, faultWith, startSystem } from './support/system.ts';

/** I7 */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');

/** A server of this test, to be killed. */
let postgres: Postgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres?.stop());

test.each(eitherRoles)(
  'responds with Retry-After while PostgreSQL is away, and loses no confirmed order, roles %s',
  async (roles) => {
    const schedule = newSchedule();
    const { processes, process, databaseUrl } = await startSystem({
      roles,
      postgresUrl: postgres.url,
      mqttUrl: servers.mosquittoUrl,
      amqpUrl: servers.amqpUrl,
    });
    const pids = processes.map(({ pids }) => pids);
    const load = new Load({ urls: [process('order').url], schedule });
    for (let round = 0; round < rounds; round++) {
      await load.morePlaced(40);
      await schedule.runFor(0, 500);
      await postgres.kill('SIGQUIT'); // pg_ctl stop -m immediate
      const told = load.statuses.get(503) ?? 0;
      // Long enough for a consumer that requeued failed messages to exceed every delivery limit.
      await eventually(() => (load.statuses.get(503) ?? 0) > told + 100, { what: 'clients get 503' });
      await schedule.runFor(1_000, 3_000);
      await postgres.restart();
    }
    const over = performance.now();
    const { failed } = await conclude({
      fault: faultWith(roles, 'PostgreSQL ends at once (-m immediate)'),
      rounds,
      databaseUrl,
      load,
      over,
      withinMs: DONE_WITHIN_MS,
    });
    expect(failed).toEqual([]);
    expect(await count(databaseUrl, 'sluice_points.inbox WHERE attempts > 1'), 'attempts that were charged').toBe(0);
    expect([...load.statuses.keys()].filter((status) => status !== 200 && status !== 201 && status !== 503)).toEqual(
      [],
    );
    const rejected = [...load.log.values()].flatMap(({ answers }) => answers).filter(({ status }) => status === 503);
    expect(rejected.every(({ retryAfter }) => Number(retryAfter) >= 1)).toBe(true);
    expect(processes.map(({ pids }) => pids)).toEqual(pids);
  },
);
