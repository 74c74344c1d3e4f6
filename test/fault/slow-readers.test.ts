// A slow consumer, and clients of the embedded broker that stop reading while 2,000 notifications are published: other
// consumers and clients are not affected.
import mqtt, { type MqttClient } from 'mqtt';
import { expect, inject, onTestFinished, test } from 'vitest';
import { userTopic } from '../../infra/mqtt/topics.ts';
import { freePort } from '../servers/ports.ts';
import { eventually } from '../setup/wait.ts';
import { checkInvariants } from './support/checker.ts';
import { conclude, judge } from './support/conclude.ts';
import { isDone } from './support/done.ts';
import { Load } from './support/load.ts';
import { newSchedule } from './support/schedule.ts';
import { query } from './support/sql.ts';
import { createEmbedded, startSystem } from './support/system.ts';

/** I7 */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');

test('a slow consumer does not delay the others', async () => {
  const schedule = newSchedule();
  const { process, databaseUrl } = await startSystem({
    postgresUrl: servers.databaseUrl,
    mqttUrl: servers.mosquittoUrl,
    amqpUrl: servers.amqpUrl,
  });
  const load = new Load({ urls: [process('order').url], schedule });
  await load.morePlaced(50); // as a warm-up
  const all = await delays(databaseUrl, load, 100);
  await process('points').stop();
  await process('points').start({ STEP_LATENCY_MS: '2000', PREFETCH: '5' });
  const beside = await delays(databaseUrl, load, 200);
  // The points service was slow, and its backlog grew.
  expect(beside.points).toBeGreaterThan(1_000);
  for (const service of ['coupon', 'notify'] as const)
    expect(beside[service], `${service}, ${JSON.stringify({ all, beside })}`).toBeLessThan(2 * all[service] + 200);

  await process('points').stop();
  await process('points').start();
  const over = performance.now();
  const fault = 'one consumer is slow';
  const { failed } = await conclude({ fault, rounds: 1, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
  expect(failed).toEqual([]);
  expect([...load.statuses.keys()].filter((status) => status !== 200 && status !== 201)).toEqual([]);
});

/**
 * Places `orders` orders and returns the median delay from order to effect for each service, in ms. If an effect is
 * missing when all coupons and notifications exist, its delay counts up to that time.
 */
async function delays(databaseUrl: string, load: Load, orders: number) {
  const [since] = await query<{ at: Date }>(databaseUrl, 'SELECT clock_timestamp() AS at');
  await load.morePlaced(orders);
  const [until] = await query<{ at: Date }>(databaseUrl, 'SELECT clock_timestamp() AS at');
  const placed = `SELECT id, created_at FROM sluice_order.orders
    WHERE created_at BETWEEN '${since?.at.toISOString()}' AND '${until?.at.toISOString()}'`;
  const median = (effect: string) => `(SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY
    extract(epoch FROM coalesce(effect.at, clock_timestamp()) - placed.created_at) * 1000)
    FROM placed LEFT JOIN ${effect} effect ON effect.order_id = placed.id)`;
  return eventually(
    async () => {
      const [row] = await query<{ left: string; points: number; coupon: number; notify: number }>(
        databaseUrl,
        `WITH placed AS (${placed}) SELECT ${median('sluice_points.entries')} AS points,
           ${median('sluice_coupon.decisions')} AS coupon, ${median('sluice_notify.notifications')} AS notify,
           (SELECT count(*) FROM placed WHERE NOT EXISTS (SELECT FROM sluice_coupon.decisions d WHERE d.order_id = placed.id)
             OR NOT EXISTS (SELECT FROM sluice_notify.notifications n WHERE n.order_id = placed.id)) AS left`,
      );
      return row?.left === '0' && row;
    },
    { what: 'coupons and notifications of these orders exist', timeoutMs: 30_000 },
  );
}

test('disconnects clients that stop reading, and delivers 2,000 notifications to a client that reads', async () => {
  const schedule = newSchedule();
  const port = await freePort();
  // The reason for a disconnect is logged at level debug.
  const { process, dataDir } = await createEmbedded({ MQTT_PORT: String(port), LOG_LEVEL: 'debug' });
  await process.start();
  const url = `mqtt://127.0.0.1:${port}`;
  const topics = Array.from({ length: 10 }, (_, number) => userTopic('sluice', `user-${number}`));
  const reader = await subscribe(url, topics);
  const live = ['sluice/live/#', 'sluice/logs/#', ...topics];
  const frozen = [await subscribe(url, live), await subscribe(`${process.url.replace('http', 'ws')}/mqtt`, live)];
  const thaw = frozen.map(({ client }) => freeze(client));

  // As fast as responses arrive.
  const load = new Load({ urls: [process.url], schedule, pace: 1_000 });
  await load.morePlaced(2_000);
  const disconnected = async () =>
    (await process.output()).match(/too far behind in reading|reads too slowly/g)?.length ?? 0;
  await eventually(async () => (await disconnected()) >= frozen.length, {
    what: 'the clients that do not read are disconnected',
    timeoutMs: 30_000,
  });
  const over = performance.now();
  await load.stop();
  const orderIds = [...load.log.values()].flatMap(
    ({ answers }) => answers.find(({ orderId }) => orderId)?.orderId ?? [],
  );
  const done = eventually(() => isDone(process.url, orderIds, new Map()), {
    what: 'all orders are completed',
    timeoutMs: DONE_WITHIN_MS,
  });
  const recoveryMs = await done.then(
    () => performance.now() - over,
    () => null, // the checker reports the rest
  );
  await eventually(() => reader.orders.size >= orderIds.length, { what: 'the reader has every notification' });
  expect(reader.orders).toEqual(new Set(orderIds));
  expect(reader.connects()).toBe(1);
  for (const [index, { client, orders }] of frozen.entries()) {
    const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
    thaw[index]?.();
    await closed;
    expect(orders.size).toBeLessThan(orderIds.length);
  }
  expect(await process.stop()).toEqual({ code: 0, signal: null });
  const verdict = await checkInvariants({ dataDir }, { log: load.log });
  judge({ fault: 'MQTT clients that stop reading, 2,000 orders at once', rounds: 1, verdict, recoveryMs });
  expect(verdict.failed).toEqual([]);
  expect([...load.statuses.keys()].filter((status) => status !== 200 && status !== 201)).toEqual([]);
});

interface Subscriber {
  readonly client: MqttClient;
  /** Orders with a received notification. */
  readonly orders: ReadonlySet<string>;
  connects(): number;
}

/** Ends with the test. */
async function subscribe(url: string, topics: readonly string[]): Promise<Subscriber> {
  const client = mqtt.connect(url, { reconnectPeriod: 0 });
  onTestFinished(() => client.endAsync(true));
  const orders = new Set<string>();
  let connects = 0;
  client.on('connect', () => connects++);
  client.on('error', () => undefined); // 'close' follows
  client.on('message', (topic, payload) => {
    if (topics.includes(topic) && topic.endsWith('/notifications')) orders.add(JSON.parse(payload.toString()).orderId);
  });
  for (const topic of topics) await client.subscribeAsync(topic, { qos: 1 });
  return { client, orders, connects: () => connects };
}

/** The client takes no packet until it is thawed. */
function freeze(client: MqttClient): () => void {
  let release = () => {};
  client.handleMessage = (_packet, callback) => {
    release = callback;
  };
  return () => {
    client.handleMessage = (_packet, callback) => callback();
    release();
  };
}
