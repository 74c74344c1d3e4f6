// What is specific to the bus on RabbitMQ: its failures. What every bus guarantees is tested by the contract suite.
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net';
import { type Channel, connect } from 'amqplib';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Bus, IncomingMessage, OutgoingEvent, Receiver, Rejected } from '../../infra/bus/port.ts';
import { MAX_EVENT_BYTES } from '../../infra/bus/port.ts';
import { openRabbitmqBus, type RabbitmqBusOptions } from '../../infra/bus/rabbitmq/index.ts';
import { exchangeOf, queueOf, type Topology } from '../../infra/bus/topology.ts';
import { type Rabbitmq, startRabbitmq } from '../servers/rabbitmq.ts';
import { startDeafProxy } from '../setup/deaf-proxy.ts';
import { startProxy, type Proxy as TcpProxy } from '../setup/proxy.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const log = pino({ level: process.env.LOG_LEVEL ?? 'silent' });
const serverStartMs = 120_000;
/** A busy machine stands still now and then; whoever waited for the broker would wait for ever. */
const PAUSES_MS = 5_000;

/** A server of its own: these tests kill it and fill its disk. */
let server: Rabbitmq;
let topology: Topology;
let cleanUps: (() => Promise<unknown>)[] = [];
/** Handlers that are held: released first, since closing a subscription waits for them. */
let releases: (() => void)[] = [];

beforeAll(async () => {
  server = await startRabbitmq();
}, serverStartMs);
afterAll(() => server?.stop());

beforeEach(() => {
  topology = { prefix: freshPrefix(), groups: { points: ['order.placed'], coupon: ['order.placed'] } };
});
afterEach(async () => {
  for (const release of releases) release();
  releases = [];
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
  cleanUps = [];
  vi.restoreAllMocks();
});

describe('publishing', () => {
  test('2,000 concurrent publishes share a window of 100 and all arrive', async () => {
    const bus = await openBus({ maxUnconfirmed: 100 });
    const recorder = await record(bus, 'points');
    const sent = events(2_000);
    const answers = await Promise.all(sent.map((one) => bus.publish([one])));
    expect(answers.flat()).toEqual([]);
    await recorder.toHandle(sent.map(({ id }) => id));
  });

  test('an event is published though no group has been there yet, and waits for it', async () => {
    const bus = await openBus();
    const id = await publishOne(bus);
    const recorder = await record(bus, 'coupon');
    await recorder.toHandle([id]);
  });

  test('an oversized event is refused, its neighbours are not', async () => {
    const bus = await openBus();
    const largest = event('x'.repeat(MAX_EVENT_BYTES));
    const tooLarge = event('ü'.repeat(MAX_EVENT_BYTES / 2 + 1));
    const rejected = await bus.publish([event(), tooLarge, largest, event()]);
    expect(rejected.map(({ id, error }) => [id, error.code])).toEqual([[tooLarge.id, 'oversized']]);
  });

  test('a full queue refuses', async () => {
    const bus = await openBus();
    await publishOne(bus);
    await server.ctl(
      'set_policy',
      'full',
      `^${queueOf(topology, 'points')}$`,
      '{"max-length":1}',
      '--apply-to',
      'queues',
    );
    cleanUps.push(() => server.ctl('clear_policy', 'full'));
    const refusedOnly = async () => codesOf(await bus.publish(events(10))).join() === 'refused';
    await eventually(refusedOnly, { what: 'events are refused' });
  });

  test('without its exchange an event is not published; the next ones are', async () => {
    const bus = await openBus();
    const recorder = await record(bus, 'points');
    await publishOne(bus);
    const admin = await openAdmin();
    await admin.deleteExchange(exchangeOf(topology));
    const rejected = await bus.publish(events(10));
    expect(rejected).toHaveLength(10);
    expect(codesOf(rejected)).toEqual(['unavailable']);
    await recorder.toHandle([await publishOne(bus)]);
  });

  test('an event that no queue is bound for is unroutable; the next ones are published', async () => {
    const bus = await openBus();
    const recorder = await record(bus, 'points');
    await publishOne(bus);
    const admin = await openAdmin();
    for (const group of Object.keys(topology.groups))
      await admin.unbindQueue(queueOf(topology, group), exchangeOf(topology), 'order.placed');
    expect(codesOf(await bus.publish([event()]))).toEqual(['unroutable']);
    const next = events(10);
    expect(await bus.publish(next)).toEqual([]);
    await recorder.toHandle(next.map(({ id }) => id));
  });

  test('a queue that only one of the groups has lost is declared again, at the latest 30 s later', async () => {
    const bus = await openBus();
    await publishOne(bus);
    const admin = await openAdmin();
    await admin.deleteQueue(queueOf(topology, 'points'));
    const now = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => now() + 30_000);
    await publishOne(bus);
    expect((await admin.checkQueue(queueOf(topology, 'points'))).messageCount).toBe(1);
  });

  test('a queue that hangs leaves its events unconfirmed, those of others get through', async () => {
    topology = { ...topology, groups: { points: ['order.placed'], order: ['points.awarded'] } };
    const bus = await openBus({ confirmTimeoutMs: 500 });
    await publishOne(bus);
    const wakeUp = await suspendQueue(queueOf(topology, 'points'));
    expect(codesOf(await bus.publish(events(100)))).toEqual(['unconfirmed']);
    expect(await bus.publish(events(100))).toHaveLength(100);
    await publishOne(bus, 'points.awarded');

    await wakeUp();
    // Confirms of the first hundreds may come by now, and must not be taken for these.
    const next = events(100);
    await eventually(async () => (await bus.publish(next)).length === 0, {
      what: 'publishing goes on',
      timeoutMs: 20_000,
    });
    const recorder = await record(bus, 'points');
    await recorder.toHandle(next.map(({ id }) => id));
  }, 60_000);

  test('close() waits for what is being published, and nothing is published after it', async () => {
    const bus = await openBus();
    const publishing = bus.publish(events(500));
    const closing = bus.close();
    expect(codesOf(await bus.publish([event()]))).toEqual(['unavailable']);
    expect(await publishing).toEqual([]);
    await closing;
    expect(bus.health().status).toBe('down');
  });
});

describe('consuming', () => {
  test('messages that arrive together are handled together', async () => {
    const bus = await openBus();
    const sent = events(2_000);
    await bus.publish(sent);
    const recorder = await record(bus, 'points');
    await recorder.toHandle(sent.map(({ id }) => id));
    // How many the broker sends at a time is its own affair, and the busier it is, the fewer.
    expect(recorder.batches).toBeLessThan(sent.length / 2);
  });

  test('a slow batch does not delay later ones, and is not acknowledged with them', async () => {
    const bus = await openBus();
    const hold = holder();
    const slow = event();
    let begun = 0;
    const recorder = new Recorder((ids) => {
      if (!ids.includes(slow.id)) return;
      begun++;
      return hold.released;
    });
    const subscription = await subscribe(bus, 'points', recorder);
    await bus.publish([slow]);
    await eventually(() => begun === 1, { what: 'the slow one has begun' });
    // Far more than the prefetch: these are acknowledged before it.
    const later = events(1_000);
    await bus.publish(later);
    await recorder.toHandle(later.map(({ id }) => id));
    await subscription.rebuild();
    await eventually(() => begun === 2, { what: 'the slow one has begun again' });
    expect(recorder.handled).not.toContain(slow.id);
    hold.release();
    await recorder.toHandle([slow.id]);
  });

  test('close() waits for running handlers, acknowledges what they did and leaves the rest', async () => {
    const bus = await openBus({ prefetch: 20 });
    const hold = holder();
    const recorder = new Recorder(() => hold.released);
    const subscription = await subscribe(bus, 'points', recorder);
    const sent = events(50);
    await bus.publish(sent);
    const waiting = async () => (await subscription.backlog()) === 30;
    await eventually(waiting, { what: '30 of 50 wait' });
    const closing = Promise.all([subscription.close(), subscription.close()]);
    hold.release();
    await closing;
    expect(recorder.handled).toHaveLength(20);

    const next = await record(bus, 'points');
    await next.toHandle(sent.map(({ id }) => id).filter((id) => !recorder.handled.includes(id)));
    expect(next.handled).toHaveLength(30);
  });

  test('a queue deleted under its consumer is back within seconds', async () => {
    const bus = await openBus();
    const recorder = new Recorder();
    const subscription = await subscribe(bus, 'points', recorder);
    const admin = await openAdmin();
    await admin.deleteQueue(queueOf(topology, 'points'));
    await eventually(() => subscription.health().status === 'down', { what: 'the consumer is cancelled' });
    await eventually(() => subscription.health().status === 'up', { what: 'it consumes again' });
    await recorder.toHandle([await publishOne(bus)]);
  });

  test('rebuild() gets what a handler never finished delivered again', async () => {
    const bus = await openBus();
    let stuck = true;
    const recorder = new Recorder(() => (stuck ? new Promise(() => {}) : undefined));
    // Not closed at the end: close() would wait for the handler that never ends.
    const subscription = await bus.subscribe('points', recorder);
    const sent = events(300);
    await bus.publish(sent);
    await eventually(async () => (await subscription.backlog()) === 100, { what: '200 of 300 are being handled' });
    stuck = false;
    await subscription.rebuild();
    await recorder.toHandle(sent.map(({ id }) => id));
    expect(subscription.health()).toEqual({ status: 'up' });
  });

  test('a message that fails each delivery is buried, the others are handled', async () => {
    const bus = await openBus({ deliveryLimit: 3 });
    const poison = event();
    let deliveries = 0;
    const recorder = new Recorder((ids) => {
      if (!ids.includes(poison.id)) return;
      deliveries++;
      throw new Error('poison');
    });
    await subscribe(bus, 'points', recorder);
    await bus.publish([poison]);
    await eventually(() => recorder.buried.length > 0, { what: 'the poison is buried' });
    expect(recorder.buried).toEqual([{ id: poison.id, reason: 'dead letter: delivery_limit' }]);
    expect(deliveries).toBe(4);
    await recorder.toHandle([await publishOne(bus)]);
  });

  test('an unknown group is refused', async () => {
    const bus = await openBus();
    await expect(bus.subscribe('unknown', new Recorder())).rejects.toThrow('unknown');
  });
});

describe('broken connections', () => {
  test('resets while events are published and consumed lose nothing', async () => {
    const { proxy, url } = await openProxy();
    const bus = await openBus({ url });
    const recorder = await record(bus, 'points');
    const resets = async () => {
      for (let round = 0; round < 5; round++) {
        await recorder.toHandleAnother(500);
        proxy.cut();
      }
    };
    const { accepted } = await publishDuring(resets(), bus);
    await recorder.toHandle(accepted);
    expect(accepted.length).toBeGreaterThan(500);
  });

  test('connections that end while they are being set up are made again', async () => {
    // Bytes from the server: within its greeting, after it, after the tuning, and while channels and queues are made.
    const url = await openLimitedProxy([8, 500, 540, 560, 580, 620, 700]);
    const bus = await openBus({ url });
    await publishOne(bus);
    expect(bus.health()).toEqual({ status: 'up' });
  });

  test('a broker that swallows everything gets publish() to answer in time, and is found again', async () => {
    const { proxy, url } = await openProxy();
    const bus = await openBus({ url, confirmTimeoutMs: 500 });
    const recorder = await record(bus, 'points');
    await publishOne(bus);
    proxy.swallow(true);
    const start = performance.now();
    expect(codesOf(await bus.publish(events(100)))).toEqual(['unconfirmed']);
    expect(codesOf(await bus.publish(events(100)))).toEqual(['unavailable']);
    expect(performance.now() - start).toBeLessThan(500 + PAUSES_MS);
    await eventually(() => bus.health().status === 'down', { what: 'the silence is noticed' });
    proxy.cut();
    proxy.swallow(false);
    await recorder.toHandle([await publishOne(bus)]);
  });

  test('close() comes to an end though the broker swallows everything', async () => {
    const { proxy, url } = await openProxy('?heartbeat=60');
    const bus = await openBus({ url, confirmTimeoutMs: 500 });
    const subscription = await bus.subscribe('points', new Recorder());
    await publishOne(bus);
    proxy.swallow(true);
    const start = performance.now();
    const publishing = bus.publish(events(10));
    await Promise.all([bus.close(), subscription.close()]);
    expect(codesOf(await publishing)).toEqual(['unconfirmed']);
    expect(performance.now() - start).toBeLessThan(8_000);
  });

  test('a bus that opens while the broker is away works once it is there', async () => {
    const { proxy, url } = await openProxy();
    proxy.refuse(true);
    const bus = await openBus({ url, confirmTimeoutMs: 200 });
    const recorder = new Recorder();
    const subscription = await subscribe(bus, 'points', recorder);
    expect(codesOf(await bus.publish([event()]))).toEqual(['unavailable']);
    expect([bus.health().status, subscription.health().status]).toEqual(['down', 'down']);
    expect(await subscription.backlog()).toBeUndefined();
    proxy.refuse(false);
    await recorder.toHandle([await publishOne(bus)]);
    expect([bus.health(), subscription.health()]).toEqual([{ status: 'up' }, { status: 'up' }]);
  });
});

describe('a broker in trouble', () => {
  test('while its disk is full publish() answers in time, consumers go on, and all resumes after', async () => {
    const bus = await openBus({ confirmTimeoutMs: 500, maxUnconfirmed: 50 });
    const before = await publishOne(bus);
    cleanUps.push(() => server.ctl('set_disk_free_limit', '50MB'));
    await server.ctl('set_disk_free_limit', '9000GB');
    // The broker tells its connections of the alarm a moment later.
    await eventually(async () => (await bus.publish(events(1))).length === 1, { what: 'the alarm holds' });
    for (let round = 0; round < 3; round++) {
      const start = performance.now();
      const rejected = await bus.publish(events(1_000));
      expect(rejected).toHaveLength(1_000);
      expect(['unavailable', 'unconfirmed']).toEqual(expect.arrayContaining(codesOf(rejected)));
      expect(performance.now() - start).toBeLessThan(500 + PAUSES_MS);
    }
    expect(bus.health().status).toBe('degraded');
    const recorder = await record(bus, 'points');
    await recorder.toHandle([before]);
    await server.ctl('set_disk_free_limit', '50MB');
    await recorder.toHandle([await publishOne(bus)]);
    expect(bus.health()).toEqual({ status: 'up' });
  });

  test(
    'killed and restarted while events are published, it loses none that was accepted',
    async () => {
      const bus = await openBus();
      const recorder = await record(bus, 'points');
      const crash = async () => {
        await recorder.toHandleAnother(500);
        // RabbitMQ saves its directory of queues now and then. One that is missing there comes back without a leader.
        await server.ctl('eval', '[dets:sync(Table) || Table <- dets:all()].');
        await server.kill();
        await server.restart();
        await recorder.toHandleAnother(500);
      };
      const { accepted, codes } = await publishDuring(crash(), bus);
      expect(codes).toContain('unavailable');
      await recorder.toHandle(accepted);
    },
    serverStartMs,
  );
});

describe('a broker that keeps an answer back', () => {
  const answers = {
    'opening a channel': '20.11',
    'asking for confirms': '85.11',
    'declaring an exchange': '40.11',
    'declaring a queue': '50.11',
    'binding a queue': '50.21',
    'setting the prefetch': '60.11',
    consuming: '60.21',
    'ending a consumer': '60.31',
    'closing a channel': '20.41',
  };
  const answerTimeoutMs = 300;

  /** A bus through a proxy that can keep answers back. */
  async function openBehindProxy(options: Partial<RabbitmqBusOptions> = {}, kept: readonly string[] = []) {
    const proxy = await startDeafProxy(server.amqpUrl);
    cleanUps.push(() => proxy.close());
    proxy.withhold(kept);
    return { proxy, bus: await openBus({ url: proxy.url, answerTimeoutMs, ...options }) };
  }

  test.for([
    'opening a channel',
    'declaring an exchange',
    'declaring a queue',
    'binding a queue',
    'setting the prefetch',
    'consuming',
  ] as const)('%s: subscribing is tried anew, on another channel', async (what) => {
    const { proxy, bus } = await openBehindProxy({}, [answers[what]]);
    const recorder = new Recorder();
    const subscription = await subscribe(bus, 'points', recorder);
    expect(subscription.health().status).toBe('down');
    proxy.withhold([]);
    await recorder.toHandle([await publishOne(bus)]);
    await eventually(() => subscription.health().status === 'up', { what: 'dead letters are read as well' });
  });

  test.for(['opening a channel', 'asking for confirms', 'declaring a queue', 'binding a queue'] as const)(
    '%s: publishing is answered in time, and goes on with another channel',
    async (what) => {
      const { proxy, bus } = await openBehindProxy({ confirmTimeoutMs: 500 }, [answers[what]]);
      expect(codesOf(await bus.publish([event()]))).toEqual(['unavailable']);
      proxy.withhold([]);
      await publishOne(bus);
      expect(bus.health()).toEqual({ status: 'up' });
    },
  );

  test('while the topology is declared again: publishing goes on with another channel', async () => {
    const { proxy, bus } = await openBehindProxy({ confirmTimeoutMs: 500 });
    await publishOne(bus);
    const now = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => now() + 30_000);
    proxy.withhold([answers['declaring a queue']]);
    expect(codesOf(await bus.publish([event()]))).toEqual(['unavailable']);
    proxy.withhold([]);
    await publishOne(bus);
  });

  test('a rebuild makes a new attempt and does not wait for the one that hangs', async () => {
    const { proxy, bus } = await openBehindProxy({ answerTimeoutMs: 60_000 });
    const recorder = new Recorder();
    const subscription = await subscribe(bus, 'points', recorder);
    proxy.withhold([answers.consuming]);
    const admin = await openAdmin();
    await admin.deleteQueue(queueOf(topology, 'points'));
    await eventually(() => subscription.health().status === 'down', { what: 'the consumer is cancelled' });
    const hangs = async () => (await (await openAdmin()).checkQueue(queueOf(topology, 'points'))).consumerCount === 1;
    await eventually(hangs, { what: 'the broker has kept its answer back' });
    proxy.withhold([]);
    await subscription.rebuild();
    expect(subscription.health()).toEqual({ status: 'up' });
    await recorder.toHandle([await publishOne(bus)]);
  });

  test('a connection on which no channel opens any more is replaced', async () => {
    const { proxy, bus } = await openBehindProxy();
    const recorder = new Recorder();
    const subscription = await subscribe(bus, 'points', recorder);
    const connections = async () => (await server.ctl('list_connections', 'pid')).trim();
    const before = await connections();
    proxy.withhold([answers['opening a channel']]);
    await subscription.rebuild();
    expect(subscription.health().status).toBe('down');
    proxy.withhold([]);
    await recorder.toHandle([await publishOne(bus)]);
    expect(await connections()).not.toBe(before);
  });

  test('the backlog is unknown, and known again after', async () => {
    const { proxy, bus } = await openBehindProxy();
    const subscription = await subscribe(bus, 'points', new Recorder());
    proxy.withhold([answers['declaring a queue']]);
    expect(await subscription.backlog()).toBeUndefined();
    proxy.withhold([]);
    expect(await subscription.backlog()).toBe(0);
  });

  test('a channel that does not close is left behind, and disturbs no other group', async () => {
    const { proxy, bus } = await openBehindProxy();
    const points = await record(bus, 'points');
    const subscription = await subscribe(bus, 'points', points);
    const hold = holder();
    let begun = 0;
    const coupon = new Recorder(() => {
      begun++;
      return hold.released;
    });
    await subscribe(bus, 'coupon', coupon);
    const id = await publishOne(bus);
    await eventually(() => begun === 1, { what: 'it is being handled' });
    proxy.withhold([answers['closing a channel']]);
    for (let round = 0; round < 3; round++) await subscription.rebuild();
    expect(subscription.health()).toEqual({ status: 'up' });
    hold.release();
    await coupon.toHandle([id]);
    const next = await publishOne(bus);
    await Promise.all([points.toHandle([id, next]), coupon.toHandle([next])]);
    // Not delivered again: its channel was never lost.
    expect(coupon.handled).toEqual([id, next]);
  });

  test('closing comes to an end', async () => {
    const { proxy, bus } = await openBehindProxy();
    const subscription = await subscribe(bus, 'points', new Recorder());
    await publishOne(bus);
    proxy.withhold([answers['ending a consumer'], answers['closing a channel']]);
    const startedAt = performance.now();
    await subscription.close();
    await bus.close();
    expect(performance.now() - startedAt).toBeLessThan(PAUSES_MS);
  });
});

/** Remembers what it was given, after `before` has allowed it. */
class Recorder implements Receiver {
  readonly #before: (ids: readonly string[]) => Promise<void> | undefined;
  readonly handled: string[] = [];
  readonly buried: { id: string; reason: string }[] = [];
  batches = 0;

  constructor(before: (ids: readonly string[]) => Promise<void> | undefined = () => undefined) {
    this.#before = before;
  }

  async handle(batch: readonly IncomingMessage[]): Promise<void> {
    this.batches++;
    const ids = batch.map(idOf);
    await this.#before(ids);
    this.handled.push(...ids);
  }

  async store(): Promise<void> {
    throw new Error('RabbitMQ has no use for it');
  }

  async bury(batch: readonly IncomingMessage[], reason: string): Promise<void> {
    this.buried.push(...batch.map((message) => ({ id: idOf(message), reason })));
  }

  wake(): void {}

  async toHandle(ids: readonly string[]): Promise<void> {
    const missing = () => {
      const handled = new Set(this.handled);
      return ids.filter((id) => !handled.has(id));
    };
    await eventually(() => missing().length === 0, { what: `all of ${ids.length} are handled`, timeoutMs: 20_000 });
  }

  async toHandleAnother(count: number): Promise<void> {
    const target = this.handled.length + count;
    await eventually(() => this.handled.length >= target, { what: `${count} more are handled`, timeoutMs: 30_000 });
  }
}

function event(body?: string): OutgoingEvent {
  const id = randomUUID();
  return { id, type: 'order.placed', body: body ?? JSON.stringify({ id }) };
}
const events = (count: number) => Array.from({ length: count }, () => event());
const idOf = ({ body }: IncomingMessage): string => (JSON.parse(body.toString()) as { id: string }).id;
const codesOf = (rejected: readonly Rejected[]) => [...new Set(rejected.map(({ error }) => error.code))];

async function openBus(options: Partial<RabbitmqBusOptions> = {}): Promise<Bus> {
  const bus = await openRabbitmqBus({ url: server.amqpUrl, topology, log, ...options });
  cleanUps.push(() => bus.close());
  return bus;
}

async function subscribe(bus: Bus, group: string, receiver: Receiver) {
  const subscription = await bus.subscribe(group, receiver);
  cleanUps.push(() => subscription.close());
  return subscription;
}

async function record(bus: Bus, group: string): Promise<Recorder> {
  const recorder = new Recorder();
  await subscribe(bus, group, recorder);
  return recorder;
}

/** Publishes one event, trying new ones until one is taken over; answers its id. */
const publishOne = (bus: Bus, type = 'order.placed'): Promise<string> =>
  eventually(
    async () => {
      const one = { ...event(), type };
      return (await bus.publish([one])).length === 0 && one.id;
    },
    { what: 'an event is published', timeoutMs: 20_000 },
  ) as Promise<string>;

/** Publishes batches of 100 while `fault` goes on. Answers the ids that were accepted, and why others were not. */
async function publishDuring(fault: Promise<void>, bus: Bus) {
  const accepted: string[] = [];
  const codes = new Set<string>();
  let over = false;
  const end = () => {
    over = true;
  };
  fault.then(end, end);
  while (!over) {
    const batch = events(100);
    const rejected = await bus.publish(batch);
    for (const code of codesOf(rejected)) codes.add(code);
    const ids = new Set(rejected.map(({ id }) => id));
    accepted.push(...batch.map(({ id }) => id).filter((id) => !ids.has(id)));
  }
  await fault;
  return { accepted, codes };
}

function holder() {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  releases.push(release);
  return { released, release };
}

async function openAdmin(): Promise<Channel> {
  const connection = await connect(server.amqpUrl);
  cleanUps.push(() => connection.close());
  const channel = await connection.createChannel();
  channel.on('error', () => undefined); // what was asked for rejects with it
  return channel;
}

/** Makes the queue's leader hang; answers how to end that. */
async function suspendQueue(queue: string): Promise<() => Promise<unknown>> {
  const leader = `whereis('%2F_${queue}')`;
  const waker = `'waker of ${queue}'`;
  const hanging = server.ctl(
    'eval',
    `register(${waker}, self()), erlang:suspend_process(${leader}), receive over -> ok after 60000 -> ok end.`,
  );
  const state = async () => server.ctl('eval', `erlang:process_info(${leader}, status).`);
  await eventually(async () => (await state()).includes('suspended'), { what: 'the queue hangs' });
  const wakeUp = async () => {
    await server.ctl('eval', `catch ${waker} ! over.`);
    await hanging;
  };
  cleanUps.push(wakeUp);
  return wakeUp;
}

async function openProxy(query = '?heartbeat=1'): Promise<{ proxy: TcpProxy; url: string }> {
  const proxy = await startProxy(server.amqpUrl);
  cleanUps.push(() => proxy.close());
  const url = new URL(query, server.amqpUrl);
  url.port = String(proxy.port);
  return { proxy, url: url.href };
}

/** A proxy that ends its first connections after so many bytes from the server, and forwards the others. */
async function openLimitedProxy(limits: readonly number[]): Promise<string> {
  const url = new URL(server.amqpUrl);
  const target = Number(url.port);
  const remaining = [...limits];
  const proxy = createServer((client) => {
    let left = remaining.shift() ?? Number.POSITIVE_INFINITY;
    const upstream = connectTcp(target, '127.0.0.1');
    client.pipe(upstream);
    upstream.on('data', (chunk) => {
      client.write(chunk.subarray(0, left));
      left -= chunk.length;
      if (left <= 0) upstream.destroy();
    });
    upstream.on('close', () => client.destroy());
    for (const socket of [client, upstream]) socket.on('error', () => upstream.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  cleanUps.push(async () => proxy.close());
  url.port = String((proxy.address() as AddressInfo).port);
  return url.href;
}
