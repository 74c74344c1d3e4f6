// Consumers that make no progress because of a broker, a network or a handler: the watchdog rebuilds them, no effect is
// lost or duplicated, and the watchdog is unhealthy if rebuilding does not help. silent-services.test.ts and
// test/fault/silence.test.ts test the same in whole processes, with /healthz.
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { LocalBus } from '../../infra/bus/local.ts';
import { MqttBus } from '../../infra/bus/mqtt/index.ts';
import type { Bus } from '../../infra/bus/port.ts';
import { RabbitmqBus } from '../../infra/bus/rabbitmq/index.ts';
import { sessionOf, type Topology } from '../../infra/bus/topology.ts';
import { InboxStore } from '../../infra/messaging/inbox-store.ts';
import { Watchdog } from '../../infra/messaging/watchdog.ts';
import { type Connect, connectTo, endConnection } from '../../infra/mqtt/connect.ts';
import { EmbeddedBroker } from '../../infra/mqtt/embedded/broker.ts';
import { ExternalPublisher } from '../../infra/mqtt/external-publisher.ts';
import { type Databases, log, openDatabases } from '../setup/bus-fixtures.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { startDeafProxy } from '../setup/deaf-proxy.ts';
import { createTables, type Group, GroupConsumer, type GroupConsumerOptions } from '../setup/group-consumer.ts';
import { orderPlaced } from '../setup/outgoing-events.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const { databaseUrl, amqpUrl, mosquittoUrl, rabbitMqttUrl } = inject('servers');
/** Longer than a healthy consumer needs for a batch on a busy machine. */
const SILENCE_MS = 600;
const PREFETCH = 20;

let databases: Databases;
let topology: Topology;
let group: Group;
beforeAll(async () => {
  databases = await openDatabases(databaseUrl);
});
afterAll(() => databases?.close());
beforeEach(async () => {
  topology = { prefix: freshPrefix(), groups: { points: ['order.placed'] } };
  group = { name: 'points', schema: `s_${randomUUID().replaceAll('-', '')}` };
  await createTables(databases.database, group);
});

/** A member of the group on this bus, and its watchdog. */
async function watched(bus: Bus, options: GroupConsumerOptions = {}) {
  const unused = async () => {};
  const process = { bus, database: databases.database, sever: () => {}, crash: unused, close: unused };
  const member = await GroupConsumer.join(process, topology, group, { prefetch: PREFETCH, ...options });
  cleanUps.push(() => member.close());
  let rebuilds = 0;
  const watchdog = new Watchdog({
    inbox: member.inbox,
    subscription: member.subscription,
    stallMs: SILENCE_MS,
    log,
    onRebuild: () => rebuilds++,
  });
  watchdog.start();
  cleanUps.push(() => watchdog.stop());
  await eventually(() => watchdog.backlog === 0 && member.subscription.health().status === 'up', {
    what: 'it is subscribed and has no backlog',
  });
  return { member, watchdog, rebuilds: () => rebuilds };
}

/** Publishes events until each is confirmed; returns their ids. */
async function publish(bus: Bus, count: number): Promise<string[]> {
  const all = Array.from({ length: count }, orderPlaced);
  let rest = all;
  await eventually(
    async () => {
      const failed = new Set((await bus.publish(rest)).map(({ id }) => id));
      rest = rest.filter(({ id }) => failed.has(id));
      return rest.length === 0;
    },
    { what: 'all are published' },
  );
  return all.map(({ id }) => id);
}

/** Waits until each of these events has its effect, and expects none to have it twice. */
async function expectEffects(ids: readonly string[], timeoutMs: number): Promise<void> {
  const effects = async () => {
    const rows = await databases.database.query<{ event_id: string }>(`SELECT event_id FROM ${group.schema}.effects`);
    return rows.map(({ event_id }) => event_id);
  };
  const missing = async () => {
    const seen = new Set(await effects());
    return ids.filter((id) => !seen.has(id)).length;
  };
  await eventually(async () => (await missing()) === 0, {
    what: `each of ${ids.length} events has its effect`,
    timeoutMs,
  });
  expect((await effects()).sort()).toEqual([...ids].sort());
}

const onMqtt = (connect: Connect, publisherUrl: string): Bus => {
  const publisher = new ExternalPublisher({ url: publisherUrl, prefix: 'test', log });
  const bus = new MqttBus({ topology, publisher, connect, database: databases.database, log });
  cleanUps.push(() => publisher.close());
  return bus;
};

const deafBuses: [string, string | undefined, (url: string) => Promise<Bus>][] = [
  [
    'RabbitMQ',
    amqpUrl,
    async (url) => new RabbitmqBus({ url, topology, log, prefetch: PREFETCH, eventsPerMessage: 1 }),
  ],
  ['MQTT on Mosquitto', mosquittoUrl, async (url) => onMqtt(connectTo(url), url)],
  ["MQTT on RabbitMQ's plugin", rabbitMqttUrl, async (url) => onMqtt(connectTo(url), url)],
];

describe.for(deafBuses)('a connection to %s that stays open and delivers nothing', ([, url, openBus]) => {
  const withBroker = test.skipIf(!url);

  async function setUp() {
    const proxy = await startDeafProxy(String(url));
    cleanUps.push(() => proxy.close());
    const bus = await openBus(proxy.url);
    cleanUps.push(() => bus.close());
    return { proxy, bus, ...(await watched(bus)) };
  }

  withBroker('is replaced, and each waiting message has its effect once', async () => {
    const { proxy, bus, watchdog, rebuilds } = await setUp();
    proxy.deafen(true);
    // More than the prefetch: the broker does not count the delivered ones as backlog.
    const ids = await publish(bus, 3 * PREFETCH);
    await eventually(() => rebuilds() === 1, { what: 'the subscription is rebuilt' });
    proxy.deafen(false);
    await expectEffects(ids, 10 * SILENCE_MS);
    expect(watchdog.healthy).toBe(true);
  });

  withBroker('is unhealthy if replacing it does not help, until it delivers again', async () => {
    const { proxy, bus, watchdog, rebuilds } = await setUp();
    proxy.deafen(true);
    const ids = await publish(bus, 3 * PREFETCH);
    await eventually(() => !watchdog.healthy, { what: 'the watchdog is unhealthy', timeoutMs: 20_000 });
    expect(rebuilds()).toBeGreaterThan(3);
    proxy.deafen(false);
    await expectEffects(ids, 10 * SILENCE_MS);
    await eventually(() => watchdog.healthy, { what: 'the watchdog is healthy again' });
  });

  withBroker('is not replaced while there is nothing to deliver', async () => {
    const { watchdog, rebuilds } = await setUp();
    const until = performance.now() + 6 * SILENCE_MS;
    await eventually(() => performance.now() > until, { what: 'six times the limit has passed' });
    expect([rebuilds(), watchdog.healthy, watchdog.backlog]).toEqual([0, true, 0]);
  });
});

/** A bus, and how other clients connect to its broker. */
type Opened = { readonly bus: Bus; readonly connect: Connect };

const mqttBrokers: [string, boolean, () => Promise<Opened>][] = [
  ['the embedded broker', true, onEmbeddedBroker],
  ['Mosquitto', mosquittoUrl !== undefined, () => onBroker(String(mosquittoUrl))],
  ["RabbitMQ's plugin", rabbitMqttUrl !== undefined, () => onBroker(String(rabbitMqttUrl))],
];

async function onBroker(url: string): Promise<Opened> {
  const connect = connectTo(url);
  const bus = onMqtt(connect, url);
  return { bus, connect };
}

async function onEmbeddedBroker(): Promise<Opened> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-silence-'));
  const broker = await EmbeddedBroker.start({ dataDir, host: '127.0.0.1', port: 0, prefix: topology.prefix, log });
  cleanUps.push(
    () => rm(dataDir, { recursive: true }),
    () => broker.close(),
  );
  const { publisher, connectInternal: connect } = broker;
  const bus = new MqttBus({ topology, publisher, connect, database: databases.database, log });
  return { bus, connect };
}

describe.for(mqttBrokers)('a consumer on %s whose session another client takes over', ([, available, open]) => {
  const withBroker = test.skipIf(!available);
  /** The consumer reconnects a second after it was disconnected. */
  const BACK_WITHIN_MS = 5_000;

  async function setUp() {
    const { bus, connect } = await open();
    cleanUps.push(() => bus.close());
    return { bus, connect, ...(await watched(bus)) };
  }

  /** Connects with the consumer's id, `times` times: each time the consumer reconnects, this client is disconnected. */
  async function takeOver(connect: Connect, times: number, clean: boolean): Promise<void> {
    let taken = 0;
    const client = connect({ clientId: sessionOf(topology.prefix, 'points'), clean, reconnectPeriod: 500 });
    cleanUps.push(() => client.endAsync(true));
    // It acknowledges nothing, so the session keeps its messages.
    client.handleMessage = (_packet, next) => next(new Error('not acknowledged'));
    client.on('connect', () => taken++);
    await eventually(() => taken >= times, { what: `the session is taken over ${times} times`, timeoutMs: 20_000 });
    await endConnection(client);
  }

  withBroker('loses no message in three takeovers, and is up once that client has left', async () => {
    const { bus, connect, member, watchdog } = await setUp();
    const before = await publish(bus, 10);
    const taking = takeOver(connect, 3, false);
    const during = await publish(bus, 10);
    await taking;
    const after = await publish(bus, 10);
    await expectEffects([...before, ...during, ...after], BACK_WITHIN_MS);
    expect([member.subscription.health(), watchdog.healthy]).toEqual([{ status: 'up' }, true]);
  });

  withBroker('receives what is published after a client that discarded the session has left', async () => {
    const { bus, connect, member } = await setUp();
    const before = await publish(bus, 10);
    await expectEffects(before, BACK_WITHIN_MS);
    await takeOver(connect, 1, true);
    await eventually(() => member.subscription.health().status === 'up', {
      what: 'the subscription is up again',
      timeoutMs: BACK_WITHIN_MS,
    });
    await expectEffects([...before, ...(await publish(bus, 10))], BACK_WITHIN_MS);
  });
});

test('is unhealthy while its handlers hang, and no effect is duplicated when they return', async () => {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  cleanUps.push(() => release());
  const bus = new LocalBus({ database: databases.database, topology, inboxOf: () => new InboxStore(group.schema) });
  // The lease expires before the handler returns, so the message may be claimed again meanwhile.
  const { watchdog } = await watched(bus, { prepare: () => held, leaseMs: 1_000, attempts: 100 });
  const ids = await publish(bus, 5);
  await eventually(() => !watchdog.healthy, { what: 'the watchdog is unhealthy', timeoutMs: 20_000 });
  release();
  await expectEffects(ids, 10 * SILENCE_MS);
  await eventually(() => watchdog.healthy, { what: 'the watchdog is healthy again' });
});
