// The process that drains a sale loses its database without being told: its connections are open and silent. Another
// one drains within seconds, and the first does not drain beside it when it is back.
import { expect, inject, test } from 'vitest';
import { startProxy } from '../setup/proxy.ts';
import { eventually } from '../setup/wait.ts';
import { conclude } from './support/conclude.ts';
import { fastestPace, openSale, startSaleSystem } from './support/sale.ts';
import { newSchedule } from './support/schedule.ts';
import { sluice } from './support/service-process.ts';
import { count } from './support/sql.ts';
import { processOfTest } from './support/system.ts';

/** I7. A lock whose connection is silent is free after 15 s. */
const DONE_WITHIN_MS = 30_000;
/** Each takes half a minute. */
const rounds = 2;
const servers = inject('servers');
const terms = { stock: 100_000, queueCap: 60, drainPerSecond: 60 };

test('a drain whose database went silent is taken over, and never drains beside the next one', async () => {
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
    // More than the queue holds: some were accepted meanwhile.
    await buyers.moreAdmitted(3 * terms.queueCap);
    expect(await count(databaseUrl, holds)).toBe(0);
    proxy.sever();
    proxy.swallow(false);
  }
  const over = performance.now();
  await buyers.moreAdmitted(2 * terms.queueCap);
  const fault = 'the database of the drain silent, in a sale';
  const { failed } = await conclude({ fault, rounds, databaseUrl, buyers, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
  expect(await fastestPace(databaseUrl, 3)).toBeLessThan(1.25 * terms.drainPerSecond);
  await proxy.close();
});
