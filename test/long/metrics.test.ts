// GET /metrics and GET /readyz: labels are from closed sets for any input, and values that are unknown at that moment
// are absent.
import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { eventTypes } from '../../contracts/events.ts';
import { rejections } from '../../contracts/flash-sales.ts';
import { type Broker, openBroker } from '../fault/support/broker.ts';
import { createServiceProcess, type ServiceProcess, sluice } from '../fault/support/service-process.ts';
import { query } from '../fault/support/sql.ts';
import { call, get, postJson } from '../setup/api.ts';
import { type FreshDatabase, freshDatabase } from '../setup/postgres.ts';
import { startProxy, type Proxy as TcpProxy } from '../setup/proxy.ts';
import * as schemas from '../setup/schemas.ts';
import { type Series, seriesIn } from '../setup/series.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const { databaseUrl, amqpUrl, mosquittoUrl, redisUrl } = inject('servers');
const available = databaseUrl !== undefined && amqpUrl !== undefined && mosquittoUrl !== undefined;
const services = ['points', 'flash-sale'] as const;

/** Present only while purchases come. */
const LAG = 'sluice_event_loop_lag_seconds';

/** Every label, with all its possible values. */
const LABELS: Readonly<Record<string, readonly string[]>> = {
  service: services,
  type: [...eventTypes, 'unknown'],
  outcome: [
    'done',
    'duplicate',
    'retrying',
    'dead',
    'reply-retrying',
    'reply-dead',
    'admitted',
    'already-admitted',
    ...rejections,
  ],
  channel: ['bus', 'user'],
  by: ['row', 'snapshot'],
  reason: ['inFlight', 'lag'],
  method: ['GET', 'HEAD', 'POST', 'other'],
  route: [
    '/readyz',
    '/metrics',
    '/flash-sales/:id/purchases',
    '/failed-messages/:service/retry',
    '/failed-messages/:service',
    'unknown',
  ],
};

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
  const consumers = async () => (await call(`${process.url}/readyz`)).json(schemas.readiness).consumers;
  const deadIn = async (service: string) => {
    const sql = `SELECT count(*)::int AS dead FROM sluice_${service}.inbox WHERE status = 'dead'`;
    return (await query<{ dead: number }>(database.url, sql))[0]?.dead;
  };

  test('reports neither progress nor event-loop lag before the first message and the first measurement', async () => {
    for (const service of services) expect((await consumers())[service]).toMatchObject({ lastProgressAt: null });
    expect(named(await metrics(), 'sluice_event_loop_lag_seconds')).toEqual([]);
    await postJson(`${process.url}/flash-sales/${randomUUID()}/purchases`, { userId: 'ann' });
    expect(named(await metrics(), 'sluice_event_loop_lag_seconds')).toHaveLength(1);
    await eventually(async () => named(await metrics(), 'sluice_event_loop_lag_seconds').length === 0, {
      what: 'the lag is no longer measured',
    });
  });

  /** Invalid messages of every kind, each with a unique text in every text field. */
  function invalidMessages(): (string | Buffer)[] {
    const text = randomUUID();
    const event = {
      specversion: '1.0',
      id: randomUUID(),
      source: '/services/order',
      type: 'order.placed',
      subject: randomUUID(),
      time: new Date().toISOString(),
      datacontenttype: 'application/json',
      data: { orderId: randomUUID(), userId: text, currency: 'GBP', total: 100, itemCount: 0 },
    };
    return [
      text,
      randomBytes(100),
      JSON.stringify({ ...event, id: randomUUID(), type: text }),
      JSON.stringify({ ...event, id: randomUUID(), type: `"} 1\n${text}{x="` }),
      JSON.stringify({ ...event, id: randomUUID(), type: 'constructor' }),
      JSON.stringify({ ...event, id: randomUUID(), source: text }),
      JSON.stringify({ ...event, id: randomUUID(), type: 'step.failed', data: { step: text } }),
      JSON.stringify(event),
    ];
  }

  /** Messages, requests and purchases that name things that do not exist. */
  async function flood(broker: Broker, times: number): Promise<void> {
    const before = Number(await deadIn('points'));
    const messages = Array.from({ length: times }, invalidMessages).flat();
    for (const service of services) await broker.send(service, messages);
    await eventually(async () => (await deadIn('points')) === before + messages.length, {
      what: 'all messages are dead',
    });
    await eventually(async () => (await broker.waiting('flash-sale')) === 0, { what: 'all messages are consumed' });
    for (let request = 0; request < times; request++) {
      const text = randomUUID();
      await call(`${process.url}/${text}?${text}`, { method: 'DELETE', headers: { 'user-agent': text } });
      await postJson(`${process.url}/flash-sales/${text}/purchases`, { userId: text });
      await postJson(`${process.url}/failed-messages/points/retry?type=${text}`, {});
    }
    await call(`${process.url}/failed-messages/points/retry`, { method: 'POST' });
    await eventually(async () => (await deadIn('points')) === before + messages.length, {
      what: 'all messages are dead again',
    });
  }

  test('no text from outside becomes a label, and more messages add no series', async () => {
    const broker = await openBroker(String(amqpUrl), prefix);
    await flood(broker, 2);
    const first = await metrics();
    expect(named(first, 'sluice_messages_handled_total').map(({ labels }) => labels)).toContainEqual({
      service: 'points',
      type: 'unknown',
      outcome: 'dead',
    });
    for (const { name, labels } of first)
      for (const [label, value] of Object.entries(labels)) {
        if (label === 'le') continue;
        if (label === 'status') expect(value).toMatch(/^([1-5]\d\d|aborted|dead|retrying)$/);
        else expect(LABELS[label], `${name} ${label}`).toContain(value);
      }
    await flood(broker, 10);
    const keysOf = (series: readonly Series[]) =>
      series.flatMap(({ name, labels }) => (name === LAG ? [] : JSON.stringify({ name, labels }))).sort();
    expect(keysOf(await metrics())).toEqual(keysOf(first));
    expect((await consumers()).points?.lastProgressAt).toMatch(/Z$/);
  }, 60_000);

  test('prunes a flood of unreadable messages, and reports it', async () => {
    const broker = await openBroker(String(amqpUrl), prefix);
    const pruned = async () => {
      const { text } = await call(`${process.url}/metrics`);
      return Number(/^sluice_unreadable_messages_pruned_total\{service="points"\} (\d+)$/m.exec(text)?.[1] ?? 0);
    };
    const before = Number(await deadIn('points')) + (await pruned());
    await broker.send(
      'points',
      Array.from({ length: 1_500 }, () => randomUUID()),
    );
    await eventually(async () => Number(await deadIn('points')) + (await pruned()) === before + 1_500, {
      what: 'each is dead or pruned',
      timeoutMs: 20_000,
    });
    await eventually(async () => Number(await deadIn('points')) <= 1_100, { what: 'the oldest are pruned' });
    expect(await process.output()).toContain('deleted the oldest unreadable messages');
  }, 60_000);

  test('while the database is away, values that it stores are absent and counters continue', async () => {
    const gauges = ['sluice_outbox_rows', 'sluice_consumer_backlog', 'sluice_workers', 'sluice_flash_sales_open'];
    const known = async (name: string) => named(await metrics(), name).length;
    await eventually(async () => (await known('sluice_consumer_backlog')) === services.length, { what: 'a backlog' });
    expect(await known('sluice_outbox_rows')).toBe(2 * services.length);

    proxy.swallow(true);
    for (const name of gauges)
      await eventually(async () => (await known(name)) === 0, { what: `${name} is absent`, timeoutMs: 25_000 });
    expect(await known('sluice_messages_handled_total')).toBeGreaterThan(0);
    for (const service of services) expect((await consumers())[service]?.backlog).toBe(null);

    proxy.sever();
    proxy.swallow(false);
    await eventually(
      async () => {
        const counts = [await known('sluice_outbox_rows'), await known('sluice_consumer_backlog')];
        expect(counts).toEqual([2 * services.length, services.length]);
        const { status } = await get(`${process.url}/readyz`, schemas.readiness);
        return status === 'up';
      },
      { what: 'all values are known again', timeoutMs: 30_000 },
    );
  }, 90_000);
});
