// What is specific to the bus on RabbitMQ: its failures. What every bus guarantees is tested by the contract suite, and what
// happens when the broker keeps an answer back by test/long/rabbitmq-answers.test.ts.
import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net';
import { describe, expect, test, vi } from 'vitest';
import { type Bus, MAX_EVENT_BYTES } from '../../infra/bus/port.ts';
import { exchangeOf, queueOf } from '../../infra/bus/topology.ts';
import { startProxy, type Proxy as TcpProxy } from '../setup/proxy.ts';
import {
  cleanUps,
  codesOf,
  event,
  events,
  latch,
  openAdmin,
  openBus,
  PAUSES_MS,
  publishOne,
  Recorder,
  record,
  SERVER_START_MS,
  server,
  subscribe,
  topology,
} from '../setup/rabbitmq-bus.ts';
import { eventually } from '../setup/wait.ts';

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

  test('an oversized event is rejected, its neighbours are not', async () => {
    const bus = await openBus();
    const largest = event('x'.repeat(MAX_EVENT_BYTES));
    const tooLarge = event('ü'.repeat(MAX_EVENT_BYTES / 2 + 1));
    const rejected = await bus.publish([event(), tooLarge, largest, event()]);
    expect(rejected.map(({ id, error }) => [id, error.code])).toEqual([[tooLarge.id, 'oversized']]);
  });

  test('a full queue rejects', async () => {
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
    const rejectedOnly = async () => codesOf(await bus.publish(events(10))).join() === 'rejected';
    await eventually(rejectedOnly, { what: 'events are rejected' });
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
    const groups = { points: ['order.placed'], order: ['points.awarded'] };
    const bus = await openBus({ topology: { ...topology, groups }, confirmTimeoutMs: 500 });
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
    const hold = latch();
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
    const hold = latch();
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

  test('an unknown group is rejected', async () => {
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
        proxy.sever();
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
    proxy.sever();
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
    proxy.reject(true);
    const bus = await openBus({ url, confirmTimeoutMs: 200 });
    const recorder = new Recorder();
    const subscription = await subscribe(bus, 'points', recorder);
    expect(codesOf(await bus.publish([event()]))).toEqual(['unavailable']);
    expect([bus.health().status, subscription.health().status]).toEqual(['down', 'down']);
    expect(await subscription.backlog()).toBeUndefined();
    proxy.reject(false);
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
    SERVER_START_MS,
  );
});

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
