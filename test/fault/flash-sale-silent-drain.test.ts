// The connections of the process that drains a sale to its database stay open but go silent. Another process takes over
// within seconds, and the first one does not drain at the same time when its connections work again.
import { expect, inject, test } from 'vitest';
import { startProxy } from '../setup/proxy.ts';
import { eventually } from '../setup/wait.ts';
import { conclude } from './support/conclude.ts';
import { fastestPace, openSale, startSaleSystem } from './support/sale.ts';
import { newSchedule } from './support/schedule.ts';
import { sluice } from './support/service-process.ts';
import { count } from './support/sql.ts';
import { processOfTest } from './support/system.ts';

/** I7. A lock with a silent connection is free after 15 s. */
const DONE_WITHIN_MS = 30_000;
/** Each round takes half a minute. */
const rounds = 2;
const servers = inject('servers');
const terms = { stock: 100_000, queueCap: 60, drainPerSecond: 60 };

test('another process takes over from a drain with a silent database, and only one drains at a time', async () => {
  const schedule = newSchedule();
  const system = await startSaleSystem({
    postgresUrl: servers.databaseUrl,
    mqttUrl: servers.mosquittoUrl,
    gateways: 0,
  });
  const { databaseUrl, env } = system;
  const proxy = await startProxy(databaseUrl);
  const through = new URL(databaseUrl);
  through.host = `127.0.0.1:${proxy.port}`;
  through.searchParams.set('application_name', 'drains');
  const drains = await processOfTest('drains', sluice('flash-sale'), { ...env, DATABASE_URL: through.href });
  const next = await processOfTest('next', sluice('flash-sale'), env);
  await Promise.all([drains.start(), next.start()]);
  const { buyers } = await openSale({ databaseUrl, gateways: [next] }, schedule, terms);
  buyers.arrive(100);
  const holds = `pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND datname = current_database() AND application_name = 'drains'
      AND (classid::bigint << 32) | objid::bigint = hashtextextended('sluice flash-sale drain', 0)`;
  for (let round = 0; round < rounds; round++) {
    await next.stop();
    await eventually(async () => (await count(databaseUrl, holds)) === 1, {
      what: 'the process behind the proxy drains',
    });
    await next.start();
    await buyers.moreAdmitted(2 * terms.queueCap);
    await schedule.runFor(0, 500);
    proxy.swallow(true);
    // More than the queue holds, so some were accepted meanwhile.
    await buyers.moreAdmitted(3 * terms.queueCap);
    expect(await count(databaseUrl, holds)).toBe(0);
    proxy.sever();
    proxy.swallow(false);
  }
  const over = performance.now();
  await buyers.moreAdmitted(2 * terms.queueCap);
  const fault = "the drain's database connection hangs, in a sale";
  const { failed } = await conclude({ fault, rounds, databaseUrl, buyers, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
  expect(await fastestPace(databaseUrl, 3)).toBeLessThan(1.25 * terms.drainPerSecond);
  await proxy.close();
});
