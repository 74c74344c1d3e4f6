// Behaviour specific to MQTT, on the embedded broker, Mosquitto and RabbitMQ's plugin: sessions and their locks,
// publishing over a connection that breaks, presence. The guarantees of every bus are tested by the bus suite.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { MqttClient } from 'mqtt';
import { pino } from 'pino';
import { describe, expect, inject, test } from 'vitest';
import { InboundBuffer } from '../../infra/bus/mqtt/inbound-buffer.ts';
import { MqttBus } from '../../infra/bus/mqtt/index.ts';
import type { Bus, IncomingMessage, Receiver } from '../../infra/bus/port.ts';
import { sessionOf, type Topology } from '../../infra/bus/topology.ts';
import type { Lock } from '../../infra/database/port.ts';
import type { OutboxRow } from '../../infra/messaging/outbox.ts';
import { publishToUsers } from '../../infra/messaging/relay.ts';
import { type Connect, connectTo, endConnection } from '../../infra/mqtt/connect.ts';
import { EmbeddedBroker } from '../../infra/mqtt/embedded/broker.ts';
import { ExternalPublisher } from '../../infra/mqtt/external-publisher.ts';
import type { MqttPublisher } from '../../infra/mqtt/port.ts';
import { Presence } from '../../infra/mqtt/presence.ts';
import { eventTopic, presenceTopic } from '../../infra/mqtt/topics.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { startProxy } from '../setup/proxy.ts';
import { receiverWith } from '../setup/receiver.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const log = pino({ level: 'silent' });
const { mosquittoUrl, rabbitMqttUrl } = inject('servers');

interface Broker {
  readonly connect: Connect;
  readonly publisher: MqttPublisher;
}

async function embedded(prefix: string): Promise<Broker> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-mqtt-'));
  const broker = await EmbeddedBroker.start({ dataDir, host: '127.0.0.1', port: 0, prefix, log });
  cleanUps.push(
    () => rm(dataDir, { recursive: true }),
    () => broker.close(),
  );
  return { connect: broker.connectInternal, publisher: broker.publisher };
}

async function external(url: string): Promise<Broker> {
  return { connect: connectTo(url), publisher: await publisherTo(url) };
}

async function publisherTo(url: string, options: { publishTimeoutMs?: number; maxPending?: number } = {}) {
  const publisher = new ExternalPublisher({ url, prefix: 'test', log, ...options });
  cleanUps.push(() => publisher.close());
  await isUp(publisher);
  return publisher;
}

const isUp = (publisher: MqttPublisher) =>
  eventually(() => publisher.health().status === 'up', { what: 'the publisher is connected' });

/** A proxy to the host and port of a URL, and the URL through it. */
async function proxyTo(url: string) {
  const proxy = await startProxy(url);
  cleanUps.push(() => proxy.close());
  const through = new URL(url);
  through.host = `127.0.0.1:${proxy.port}`;
  return { proxy, url: through.href };
}

/** Locks that several simulated processes share, as in one database; a test can disconnect a process from them. */
function sharedLocks() {
  const holders = new Map<string, object>();
  return () => {
    const lost = new Map<string, () => void>();
    let disconnected = false;
    return {
      async tryLock(name: string): Promise<Lock | undefined> {
        if (disconnected) throw new Error('the database is away');
        if (holders.has(name)) return undefined;
        holders.set(name, lost);
        const promise = new Promise<void>((resolve) => lost.set(name, resolve));
        return { lost: promise, release: async () => void holders.delete(name) };
      },
      disconnect() {
        disconnected = true;
        for (const [name, lose] of lost) {
          holders.delete(name);
          lose();
        }
      },
    };
  };
}

/** A receiver that records the messages it stores. */
function recorder(enqueue: (batch: readonly IncomingMessage[]) => Promise<void> = async () => {}) {
  const stored: string[] = [];
  const batches: number[] = [];
  const receiver = receiverWith({
    async enqueue(batch) {
      await enqueue(batch);
      batches.push(batch.length);
      stored.push(...batch.map(({ body }) => body.toString()));
    },
  });
  return { receiver, stored, batches };
}

function topologyFor(prefix: string): Topology {
  return { prefix, groups: { points: ['order.placed'], order: ['points.awarded', 'coupon.issued'] } };
}

const event = (id: string, type = 'order.placed') => ({ id, type, body: `{"id":"${id}"}` });
const events = (count: number, from = 0) => Array.from({ length: count }, (_, index) => event(String(from + index)));
const bodies = (count: number) => events(count).map(({ body }) => body);
const distinct = (values: Iterable<string>) =>
  [...new Set(values)].sort((a, b) => a.length - b.length || (a < b ? -1 : 1));

const brokers: [string, ((prefix: string) => Promise<Broker>) | undefined][] = [
  ['the embedded broker', embedded],
  ['Mosquitto', mosquittoUrl ? () => external(mosquittoUrl) : undefined],
  ["RabbitMQ's plugin", rabbitMqttUrl ? () => external(rabbitMqttUrl) : undefined],
];

describe.for(brokers)('the bus over %s', ([, broker]) => {
  /** A broker and the processes that are opened on it, which share their locks. */
  async function setUp() {
    const topology = topologyFor(freshPrefix());
    const { connect, publisher } = await (broker as NonNullable<typeof broker>)(topology.prefix);
    const database = sharedLocks();
    cleanUps.push(async () => {
      // A connection with a clean session ends the session that a persistent one left at the broker.
      for (const group of Object.keys(topology.groups)) {
        const client = connect({ clientId: sessionOf(topology.prefix, group), clean: true });
        await new Promise((resolve) => client.once('connect', resolve));
        await endConnection(client);
      }
    });
    const open = (locks = database()): Bus => {
      const bus = new MqttBus({ topology, publisher, connect, database: locks, log });
      cleanUps.push(() => bus.close());
      return bus;
    };
    const subscribe = async (bus: Bus, group: string, receiver: Receiver) => {
      const subscription = await bus.subscribe(group, receiver);
      cleanUps.push(() => subscription.close());
      return subscription;
    };
    return { database, open, subscribe };
  }
  const withBroker = test.skipIf(!broker);

  withBroker('keeps events that are published before a group has ever run', async () => {
    const { open, subscribe } = await setUp();
    const early = [...events(20), event('20', 'coupon.issued')];
    expect(await open().publish(early)).toEqual([]);

    const points = recorder();
    const order = recorder();
    const later = open();
    await subscribe(later, 'points', points.receiver);
    await subscribe(later, 'order', order.receiver);
    await eventually(() => points.stored.length >= 20 && order.stored.length >= 1, { what: 'the early events' });
    expect(distinct(points.stored)).toEqual(bodies(20));
    expect(order.stored).toEqual([event('20').body]);
  });

  withBroker('delivers a thousand events, in batches', async () => {
    const { open, subscribe } = await setUp();
    const bus = open();
    const { receiver, stored, batches } = recorder(() => delay(5));
    await subscribe(bus, 'points', receiver);
    expect(await bus.publish(events(1_000))).toEqual([]);
    await eventually(() => new Set(stored).size >= 1_000, { what: 'all events', timeoutMs: 20_000 });
    expect(distinct(stored)).toEqual(distinct(bodies(1_000)));
    expect(Math.max(...batches)).toBeGreaterThan(1);
    expect(Math.max(...batches)).toBeLessThanOrEqual(100);
  });

  withBroker(
    'acknowledges a message after it is stored, so that a process that takes over gets the others',
    async () => {
      const { open, subscribe, database } = await setUp();
      const holderDatabase = database();
      const holder = open(holderDatabase);
      let storing = 0;
      let release = () => {};
      const stuck = new Promise<void>((resolve) => {
        release = resolve;
      });
      cleanUps.push(() => release());
      const first = recorder((batch) => {
        storing += batch.length;
        return stuck;
      });
      await subscribe(holder, 'points', first.receiver);
      const standby = recorder();
      const second = await subscribe(open(), 'points', standby.receiver);
      expect(second.health()).toEqual({ status: 'up', detail: 'standby' });

      expect(await holder.publish(events(5))).toEqual([]);
      await eventually(() => storing > 0, { what: 'the first process stores' });
      expect(standby.stored).toEqual([]);

      holderDatabase.disconnect();
      await eventually(() => new Set(standby.stored).size >= 5, { what: 'the standby process has the events' });
      expect(distinct(standby.stored)).toEqual(bodies(5));
      // A session's messages come with the connection, before the broker confirms the subscription.
      await eventually(() => second.health().detail === undefined, { what: 'its subscription is confirmed' });
      expect(second.health()).toEqual({ status: 'up' });
    },
  );

  withBroker('receives messages again, after a pause, if storing them failed', async () => {
    const { open, subscribe } = await setUp();
    const bus = open();
    let failures = 0;
    const { receiver, stored } = recorder(async () => {
      if (failures++ === 0) throw new Error('not stored');
    });
    await subscribe(bus, 'points', receiver);
    expect(await bus.publish(events(3))).toEqual([]);
    await eventually(() => new Set(stored).size >= 3, { what: 'all events, at the second attempt' });
    expect(distinct(stored)).toEqual(bodies(3));
  });

  withBroker('finishes and acknowledges the running store on close', async () => {
    const { open, subscribe } = await setUp();
    const bus = open();
    let release: (() => void) | undefined;
    const first = recorder(
      () =>
        new Promise((resolve) => {
          release = resolve;
        }),
    );
    const subscription = await subscribe(bus, 'points', first.receiver);
    await bus.publish(events(1));
    const finish = await eventually(() => release, { what: 'a store is running' });
    const closing = subscription.close();
    finish();
    await closing;
    expect(first.stored).toEqual(bodies(1));

    const second = recorder();
    await subscribe(bus, 'points', second.receiver);
    await bus.publish([event('last')]);
    await eventually(() => second.stored.length > 0, { what: 'the next event' });
    expect(second.stored).toEqual([event('last').body]);
  });

  withBroker('rejects events that are oversized or have no subscriber', async () => {
    const { open } = await setUp();
    const large = { ...event('large'), body: 'x'.repeat(64 * 1024 + 1) };
    const failures = await open().publish([event('nobody', 'nobody.listens'), large, event('fine')]);
    expect(failures.map(({ id, error }) => [id, error.code])).toEqual([
      ['nobody', 'unroutable'],
      ['large', 'oversized'],
    ]);
  });

  withBroker('continues to receive after a rebuild', async () => {
    const { open, subscribe } = await setUp();
    const bus = open();
    const { receiver, stored } = recorder();
    const subscription = await subscribe(bus, 'points', receiver);
    await subscription.rebuild();
    await bus.publish(events(10));
    await eventually(() => new Set(stored).size >= 10, { what: 'events after the rebuild' });
    expect(await subscription.backlog()).toBeUndefined();
  });
});

const externalBrokers: [string, string | undefined][] = [
  ['Mosquitto', mosquittoUrl],
  ["RabbitMQ's plugin", rabbitMqttUrl],
];

describe.for(externalBrokers)('connections to %s', ([, url]) => {
  const withBroker = test.skipIf(!url);
  const brokerUrl = url as string;

  withBroker('loses no event when the connection breaks again and again', async () => {
    const { proxy, url: through } = await proxyTo(brokerUrl);
    const topology = topologyFor(freshPrefix());
    const publisher = await publisherTo(through);
    const database = sharedLocks()();
    const bus = new MqttBus({ topology, publisher, connect: connectTo(through), database, log });
    const { receiver, stored } = recorder(() => delay(2));
    const subscription = await bus.subscribe('points', receiver);
    cleanUps.push(() => subscription.close());

    for (let round = 0; round < 3; round++) {
      let rest = events(100, round * 100);
      const severed = delay(10).then(() => proxy.sever());
      while (rest.length > 0) {
        const failed = new Set((await bus.publish(rest)).map(({ id }) => id));
        rest = rest.filter(({ id }) => failed.has(id));
        if (rest.length > 0) await isUp(publisher);
      }
      await severed;
    }
    await eventually(() => new Set(stored).size >= 300, {
      what: 'every accepted event has arrived',
      timeoutMs: 20_000,
    });
    expect(distinct(stored)).toEqual(distinct(bodies(300)));
  });

  withBroker('settles a batch within twice the timeout while the broker is slow', async () => {
    const { proxy, url: through } = await proxyTo(brokerUrl);
    const publishTimeoutMs = 1_500;
    const publisher = await publisherTo(through, { publishTimeoutMs });
    const topology = topologyFor(freshPrefix());
    const bus = new MqttBus({ topology, publisher, connect: connectTo(brokerUrl), database: sharedLocks()(), log });
    cleanUps.push(() => bus.close());
    expect(await bus.publish(events(1))).toEqual([]);
    proxy.delay(publishTimeoutMs / 3);
    const startedAt = performance.now();
    const failures = await bus.publish(events(200));
    expect(performance.now() - startedAt).toBeLessThan(2 * publishTimeoutMs + 1_000);
    expect(failures.length).toBeLessThan(200);
    expect(failures.every(({ error }) => error.code === 'unavailable')).toBe(true);
    // As the relay publishes notifications.
    const rows = Array.from({ length: 200 }, (_, position) => ({ subject: `u-${position}`, data: '{}' }) as OutboxRow);
    const again = performance.now();
    const unpublished = await publishToUsers(publisher, topology.prefix, rows);
    expect(performance.now() - again).toBeLessThan(2 * publishTimeoutMs + 1_000);
    expect(unpublished.every(({ transportDown }) => transportDown)).toBe(true);
    proxy.delay(0);
    expect(await bus.publish(events(200, 200))).toEqual([]);
  });

  withBroker('rejects a publish at once while the broker is away, and recovers', async () => {
    const { proxy, url: through } = await proxyTo(brokerUrl);
    const publisher = await publisherTo(through);
    proxy.reject(true);
    proxy.sever();
    await eventually(() => publisher.health().status === 'down', { what: 'the publisher is down' });
    await expect(publisher.publish('t', 'x', { qos: 1 })).rejects.toMatchObject({ code: 'unavailable' });
    await publisher.publish('t', 'x', { qos: 0 });

    const bus = new MqttBus({
      topology: topologyFor(freshPrefix()),
      publisher,
      connect: connectTo(through),
      database: sharedLocks()(),
      log,
    });
    const [failure] = await bus.publish([event('away')]);
    expect(failure).toMatchObject({ id: 'away', error: { code: 'unavailable' } });

    proxy.reject(false);
    await isUp(publisher);
    await publisher.publish('t', 'x', { qos: 2 });
  });

  withBroker('replaces a connection that drops everything, after the first publish times out', async () => {
    const { proxy, url: through } = await proxyTo(brokerUrl);
    const publisher = await publisherTo(through, { publishTimeoutMs: 300 });
    proxy.swallow(true);
    await expect(publisher.publish('t', 'x', { qos: 1 })).rejects.toMatchObject({ code: 'unconfirmed' });
    await eventually(() => publisher.health().status === 'down', { what: 'the connection is closed' });
    proxy.sever();
    proxy.swallow(false);
    await isUp(publisher);
    await publisher.publish('t', 'x', { qos: 1 });
  });

  withBroker('rejects publishes beyond the limit, and pending ones when the connection breaks', async () => {
    const { proxy, url: through } = await proxyTo(brokerUrl);
    const publisher = await publisherTo(through, { maxPending: 2 });
    proxy.swallow(true);
    const pending = [1, 2].map((qos) => publisher.publish('t', 'x', { qos: qos as 1 | 2 }));
    await expect(publisher.publish('t', 'x', { qos: 1 })).rejects.toMatchObject({ code: 'rejected' });
    proxy.sever();
    for (const publish of pending) await expect(publish).rejects.toMatchObject({ code: 'unavailable' });
  });

  withBroker(
    'announces presence: online, repeated for late subscribers, cleared by a stop, offline after a crash',
    async () => {
      const prefix = freshPrefix();
      const watch = async (instance: string) => {
        const client = connectTo(brokerUrl)({ clientId: freshPrefix() });
        cleanUps.push(() => endConnection(client));
        const seen: string[] = [];
        client.on('message', (_topic, payload) => seen.push(payload.toString()));
        await client.subscribeAsync(presenceTopic(prefix, 'points', instance), { qos: 1 });
        return seen;
      };
      const latest = (seen: string[], payload: string) =>
        eventually(() => seen.at(-1) === payload, { what: `presence "${payload}"` });

      const stopped = await watch('stopped');
      const announce = (url: string, instance: string) => {
        const presence = new Presence({ broker: { url }, prefix, service: 'points', instance, log });
        presence.start();
        return presence;
      };
      const presence = announce(brokerUrl, 'stopped');
      await latest(stopped, 'online');
      await latest(await watch('stopped'), 'online');
      await presence.stop();
      await latest(stopped, '');

      const { proxy, url: through } = await proxyTo(brokerUrl);
      const crashed = await watch('crashed');
      const crashing = announce(through, 'crashed');
      cleanUps.push(() => crashing.stop());
      await latest(crashed, 'online');
      proxy.reject(true);
      proxy.sever();
      await latest(crashed, 'offline');
      await clearRetained(brokerUrl, presenceTopic(prefix, 'points', 'crashed'));
    },
  );
});

async function clearRetained(url: string, topic: string): Promise<void> {
  const client: MqttClient = connectTo(url)({ clientId: freshPrefix() });
  await client.publishAsync(topic, '', { qos: 1, retain: true });
  await endConnection(client);
}

test('the inbound buffer reports a stall, holds at most 200 messages, and acknowledges them when they are stored', async () => {
  const { connect, publisher } = await embedded('p');
  let finish = () => {};
  const stuck = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const { receiver, stored, batches } = recorder(() => stuck);
  let stalls = 0;
  const buffer = new InboundBuffer({ receiver, stallMs: 20, onStall: () => stalls++ });
  const receive = async () => {
    const client = connect({ clientId: 'p-points', clean: false });
    cleanUps.push(() => endConnection(client));
    let received = 0;
    client.on('message', () => received++);
    buffer.attach(client);
    await client.subscribeAsync('p/events/a', { qos: 1 });
    return { client, received: () => received };
  };

  const first = await receive();
  for (const { body } of events(300)) void publisher.publish('p/events/a', body, { qos: 1 });
  await eventually(() => stalls === 1 && first.received() >= 201, { what: 'the stall is noticed' });
  // The first batch, here a single message, and 200 that wait behind it.
  expect(first.received()).toBe(201);
  finish();
  await eventually(() => stored.length === 300, { what: 'everything is stored' });
  expect(Math.max(...batches)).toBe(100);
  await buffer.idle();
  await publisher.publish('p/events/a', 'after', { qos: 1 });
  await eventually(() => stored.length === 301, { what: 'the next message' });
  await endConnection(first.client);

  const second = await receive();
  await publisher.publish('p/events/a', 'last', { qos: 1 });
  await eventually(() => stored.includes('last'), { what: 'the last message' });
  expect(second.received()).toBe(1);
});

test('an event topic has the dots of the event type as slashes', () => {
  expect(eventTopic('p', 'flash-sale.ticket.accepted')).toBe('p/events/flash-sale/ticket/accepted');
});
