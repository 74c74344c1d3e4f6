// What GET /metrics and GET /readyz may say: nothing that is not known at that moment.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Readiness } from '../../contracts/operations.ts';
import { createServiceProcess, type ServiceProcess, sluice } from '../fault/support/service-process.ts';
import { type FreshDatabase, freshDatabase } from '../setup/postgres.ts';
import { startProxy, type Proxy as TcpProxy } from '../setup/proxy.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';
import { call, get, postJson } from './support/api.ts';

const { databaseUrl, amqpUrl, mosquittoUrl, redisUrl } = inject('servers');
const available = databaseUrl !== undefined && amqpUrl !== undefined && mosquittoUrl !== undefined;
const services = ['points', 'flash-sale'] as const;

interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Of the program; those that tell of the process come from Node itself. */
function seriesIn(text: string): Series[] {
  const lines = text.split('\n').filter((line) => line.startsWith('sluice_'));
  return lines.map((line) => {
    const [, name = '', labels = ''] = /^(\w+)(?:\{(.*)\})? \S+$/.exec(line) ?? [];
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label = '', value = '']) => [
      label,
      value,
    ]);
    return { name, labels: Object.fromEntries(pairs) };
  });
}

describe.skipIf(!available)('a process on RabbitMQ and PostgreSQL', () => {
  let database: FreshDatabase;
  let proxy: TcpProxy;
  let process: ServiceProcess;
  const prefix = freshPrefix();

  beforeAll(async () => {
    database = await freshDatabase(String(databaseUrl));
    proxy = await startProxy(database.url);
    const through = new URL(database.url);
    through.host = `127.0.0.1:${proxy.port}`;
    process = await createServiceProcess('points-and-sales', sluice(...services), {
      DATABASE_URL: through.href,
      AMQP_URL: String(amqpUrl),
      MQTT_URL: String(mosquittoUrl),
      ...(redisUrl ? { REDIS_URL: redisUrl } : {}),
      BUS_PREFIX: prefix,
      WATCHDOG_MS: '3000',
    });
    await process.start();
  });
  afterAll(async () => {
    await process?.remove();
    await proxy?.close();
    await database?.drop();
  });

  const metrics = async () => seriesIn((await call(`${process.url}/metrics`)).text);
  const named = (series: readonly Series[], name: string) => series.filter((each) => each.name === name);
  const consumers = async () => (await call(`${process.url}/readyz`)).json<Readiness>().consumers;
  test('nothing is said of progress before there was any, nor of the event loop before it was measured', async () => {
    for (const service of services) expect((await consumers())[service]).toMatchObject({ lastProgressAt: null });
    expect(named(await metrics(), 'sluice_event_loop_lateness_seconds')).toEqual([]);
    await postJson(`${process.url}/flash-sales/${randomUUID()}/purchases`, { userId: 'ann' });
    expect(named(await metrics(), 'sluice_event_loop_lateness_seconds')).toHaveLength(1);
    await eventually(async () => named(await metrics(), 'sluice_event_loop_lateness_seconds').length === 0, {
      what: 'it is not measured any more',
    });
  });

  test('while the database does not answer, what only it knows is absent; the counters go on', async () => {
    const gauges = ['sluice_outbox_rows', 'sluice_consumer_backlog'];
    const known = async (name: string) => named(await metrics(), name).length;
    await eventually(async () => (await known('sluice_consumer_backlog')) === services.length, { what: 'a backlog' });
    expect(await known('sluice_outbox_rows')).toBe(2 * services.length);

    proxy.swallow(true);
    for (const name of gauges)
      await eventually(async () => (await known(name)) === 0, { what: `${name} is absent`, timeoutMs: 25_000 });
    expect(await known('sluice_overload_refusals_total')).toBe(2);
    for (const service of services) expect((await consumers())[service]?.backlog).toBe(null);

    proxy.cut();
    proxy.swallow(false);
    await eventually(
      async () => {
        const counts = [await known('sluice_outbox_rows'), await known('sluice_consumer_backlog')];
        expect(counts).toEqual([2 * services.length, services.length]);
        const { status } = await get<Readiness>(`${process.url}/readyz`);
        return status === 'up';
      },
      { what: 'all is known again', timeoutMs: 30_000 },
    );
  }, 90_000);
});
