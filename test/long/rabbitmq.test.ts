// Failures that are specific to the bus on RabbitMQ. The guarantees of every bus are tested by the bus suite, a broker
// that withholds its replies by test/long/rabbitmq-replies.test.ts.
import { connect as connectTcp, createServer } from 'node:net';
import { pino } from 'pino';
import { describe, expect, test, vi } from 'vitest';
import { type Bus, MAX_EVENT_BYTES, type OutgoingEvent } from '../../infra/bus/port.ts';
import { exchangeOf, queueOf } from '../../infra/bus/topology.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { listen } from '../setup/listen.ts';
import { startProxy, type Proxy as TcpProxy } from '../setup/proxy.ts';
import {
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
  test('delivers 2,000 concurrent publishes through a window of 100', async () => {
    const bus = await openBus({ maxUnconfirmed: 100 });
    const recorder = await record(bus, 'points');
    const sent = events(2_000);
    const failures = await Promise.all(sent.map((one) => bus.publish([one])));
    expect(failures.flat()).toEqual([]);
    await recorder.toHandle(sent.map(({ id }) => id));
  });

  test('keeps an event for a group that has never run', async () => {
    const bus = await openBus();
    const id = await publishOne(bus);
    const recorder = await record(bus, 'coupon');
    await recorder.toHandle([id]);
  });

  test('rejects an oversized event, and publishes the others of the batch', async () => {
    const bus = await openBus();
    const largest = event('x'.repeat(MAX_EVENT_BYTES));
    const tooLarge = event('ü'.repeat(MAX_EVENT_BYTES / 2 + 1));
    const failures = await bus.publish([event(), tooLarge, largest, event()]);
    expect(failures.map(({ id, error }) => [id, error.code])).toEqual([[tooLarge.id, 'oversized']]);
  });

  test('rejects events while a queue is full', async () => {
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

  test('rejects events without their exchange, and declares it again for the next ones', async () => {
    const bus = await openBus();
    const recorder = await record(bus, 'points');
    await publishOne(bus);
    const admin = await openAdmin();
    await admin.deleteExchange(exchangeOf(topology));
    const failures = await bus.publish(events(10));
    expect(failures).toHaveLength(10);
    expect(codesOf(failures)).toEqual(['unavailable']);
    await recorder.toHandle([await publishOne(bus)]);
  });

  test('rejects an event without a binding as unroutable, and binds the queues again for the next ones', async () => {
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

  test('declares the missing queue of a single group again within 30 s', async () => {
    const bus = await openBus();
    await publishOne(bus);
    const admin = await openAdmin();
    await admin.deleteQueue(queueOf(topology, 'points'));
    const now = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => now() + 30_000);
    await publishOne(bus);
    expect((await admin.checkQueue(queueOf(topology, 'points'))).messageCount).toBe(1);
  });

  test('leaves the events of a hanging queue unconfirmed, and publishes those of others', async () => {
    const groups = { points: ['order.placed'], order: ['points.awarded'] };
    const bus = await openBus({ topology: { ...topology, groups }, confirmTimeoutMs: 500 });
    await publishOne(bus);
    const wakeUp = await suspendQueue(queueOf(topology, 'points'));
    expect(codesOf(await bus.publish(events(100)))).toEqual(['unconfirmed']);
    expect(await bus.publish(events(100))).toHaveLength(100);
    await publishOne(bus, 'points.awarded');

    await wakeUp();
    // Late confirms of the first batches must not count for these events.
    const next = events(100);
    await eventually(async () => (await bus.publish(next)).length === 0, {
      what: 'publishing continues',
      timeoutMs: 20_000,
    });
    const recorder = await record(bus, 'points');
    await recorder.toHandle(next.map(({ id }) => id));
  }, 60_000);

  test('close() waits for pending publishes and rejects later ones', async () => {
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
  test('handles messages that arrive together in one batch', async () => {
    const bus = await openBus({ eventsPerMessage: 1 });
    const sent = events(2_000);
    await bus.publish(sent);
    const recorder = await record(bus, 'points');
    await recorder.toHandle(sent.map(({ id }) => id));
    // The size of a batch depends on the broker; a busy one sends smaller ones.
    expect(recorder.batches).toBeLessThan(sent.length / 2);
  });

  test('a slow batch neither delays later ones nor is acknowledged with them', async () => {
    const bus = await openBus({ eventsPerMessage: 1 });
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
    await eventually(() => begun === 1, { what: 'the slow event is being handled' });
    // Far more than the prefetch, so some are acknowledged before the slow one.
    const later = events(1_000);
    await bus.publish(later);
    await recorder.toHandle(later.map(({ id }) => id));
    await subscription.rebuild();
    await eventually(() => begun === 2, { what: 'the slow event is being handled again' });
    expect(recorder.handled).not.toContain(slow.id);
    hold.release();
    await recorder.toHandle([slow.id]);
  });

  test('close() waits for running handlers, acknowledges their messages and leaves the others', async () => {
    const bus = await openBus({ prefetch: 20, eventsPerMessage: 1 });
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

  test('declares a queue again that was deleted while it was consumed', async () => {
    const bus = await openBus();
    const recorder = new Recorder();
    const subscription = await subscribe(bus, 'points', recorder);
    const admin = await openAdmin();
    await admin.deleteQueue(queueOf(topology, 'points'));
    await eventually(() => subscription.health().status === 'down', { what: 'the consumer is cancelled' });
    await eventually(() => subscription.health().status === 'up', { what: 'the subscription is up again' });
    await recorder.toHandle([await publishOne(bus)]);
  });

  // Without a pause, RabbitMQ 3.10 drops the messages of the new queue, in most of these rounds.
  test('consumes a queue that was deleted and that a publisher has declared again', async () => {
    const alone = { ...topology, groups: { points: ['order.placed'] } };
    const [publisher, consumer] = [await openBus({ topology: alone }), await openBus({ topology: alone })];
    const recorder = await record(consumer, 'points');
    const admin = await openAdmin();
    for (let round = 0; round < 5; round++) {
      const sent = events(100);
      await publisher.publish(sent);
      await recorder.toHandle(sent.map(({ id }) => id));
      await admin.deleteQueue(queueOf(topology, 'points'));
      await publisher.publish([event()]);
      await recorder.toHandle([await publishOne(publisher)]);
    }
  });

  test('rebuild() lets unfinished messages be delivered again', async () => {
    const bus = await openBus({ eventsPerMessage: 1 });
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

  test('dead-letters a message whose deliveries all fail, and handles the others', async () => {
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
    await eventually(() => recorder.deadLettered.length > 0, { what: 'the message is a dead letter' });
    expect(recorder.deadLettered).toEqual([{ id: poison.id, reason: 'dead letter: delivery_limit' }]);
    expect(deliveries).toBe(4);
    await recorder.toHandle([await publishOne(bus)]);
  });

  test('rejects an unknown group', async () => {
    const bus = await openBus();
    await expect(bus.subscribe('unknown', new Recorder())).rejects.toThrow('unknown');
  });
});

describe('several events in one message', () => {
  test('events with the same routing key share messages, and a lone event is a message of its own', async () => {
    const bus = await openBus({ topology: { ...topology, groups: { points: ['order.placed', 'order.cancelled'] } } });
    const lone = { ...event(), type: 'order.cancelled' };
    const sent = [...events(30), lone, ...events(15)];
    expect(await bus.publish(sent)).toEqual([]);
    const stored = await storedMessages('points', 4);
    const placed = sent.filter((one) => one !== lone);
    const batch = (from: number, to: number) => ({
      key: 'order.placed',
      contentType: 'application/cloudevents-batch+json',
      messageId: placed[from]?.id,
      body: `[${placed
        .slice(from, to)
        .map(({ body }) => body)
        .join(',')}]`,
    });
    const single = { key: lone.type, contentType: 'application/cloudevents+json', messageId: lone.id, body: lone.body };
    expect(stored).toEqual([batch(0, 20), batch(20, 40), batch(40, 45), single]);
  });

  test('a message is no larger than the largest event', async () => {
    const bus = await openBus();
    const half = MAX_EVENT_BYTES / 2;
    // Brackets and a comma fit into the first message exactly, and not into the second one.
    const sent = ['x', 'y', 'z'].map((letter) => event(letter.repeat(half - (letter === 'x' ? 3 : 0))));
    expect(await bus.publish(sent)).toEqual([]);
    const stored = await storedMessages('points', 2);
    expect(stored.map(({ body }) => body.length)).toEqual([MAX_EVENT_BYTES, half]);
  });

  test('no event of a returned message counts as published, and the others of the call do', async () => {
    const bus = await openBus();
    const unroutable = Array.from({ length: 5 }, () => ({ ...event(), type: 'points.awarded' }));
    const good = events(5);
    const failures = await bus.publish([...unroutable, ...good].sort((a, b) => (a.id < b.id ? -1 : 1)));
    expect(codesOf(failures)).toEqual(['unroutable']);
    expect(failures.map(({ id }) => id).sort()).toEqual(unroutable.map(({ id }) => id).sort());
  });

  test('is acknowledged only when each event is handled', async () => {
    const bus = await openBus({ prefetch: 5, eventsPerMessage: 5 });
    const hold = latch();
    const recorder = new Recorder(() => hold.released);
    const subscription = await subscribe(bus, 'points', recorder);
    const [first, ...others] = events(5);
    await bus.publish([first as OutgoingEvent, ...others]);
    await eventually(() => recorder.batches === 1, { what: 'the message is being handled' });
    await subscription.rebuild();
    await eventually(() => recorder.batches === 2, { what: 'all of it is delivered again' });
    hold.release();
    await recorder.toHandle([first as OutgoingEvent, ...others].map(({ id }) => id));
    await eventually(() => recorder.handled.length === 10, { what: 'each event is handled twice' });
    await subscription.close();
    expect(await storedMessages('points', 0)).toEqual([]);
  });

  test('the receiver gets at most `prefetch` events at a time, plus those that complete the last message', async () => {
    const bus = await openBus({ prefetch: 10, eventsPerMessage: 8 });
    const hold = latch();
    let given = 0;
    const recorder = new Recorder((ids) => {
      given += ids.length;
      return hold.released;
    });
    const subscription = await subscribe(bus, 'points', recorder);
    const sent = events(160);
    await bus.publish(sent);
    // Ten messages are delivered and two of them are passed on.
    await eventually(async () => (await subscription.backlog()) === 10, { what: 'half of the messages are delivered' });
    await eventually(() => given > 0, { what: 'events are being handled' });
    expect(given).toBe(16);
    // Those of the lost channel are still being handled.
    await subscription.rebuild();
    await eventually(() => given > 16, { what: 'events are delivered again' });
    await eventually(async () => (await subscription.backlog()) === 10, { what: 'half of the messages are delivered' });
    expect(given).toBe(24);
    hold.release();
    await recorder.toHandle(sent.map(({ id }) => id));
  });

  test('close() leaves the messages of a prefetch that are not being handled', async () => {
    const bus = await openBus({ eventsPerMessage: 5, prefetch: 5 });
    const hold = latch();
    const recorder = new Recorder(() => hold.released);
    const subscription = await subscribe(bus, 'points', recorder);
    const sent = events(20);
    await bus.publish(sent);
    await eventually(async () => (await subscription.backlog()) === 0 && recorder.batches === 1, {
      what: 'all messages are delivered',
    });
    const closing = subscription.close();
    hold.release();
    await closing;
    expect(recorder.handled).toHaveLength(5);
    const left = (await storedMessages('points', 3)).map(({ body }) => (JSON.parse(body) as unknown[]).length);
    expect(left).toEqual([5, 5, 5]);
  });

  test('reads batches of other publishers, and passes an unreadable batch on as a single event', async () => {
    const bus = await openBus();
    const recorder = await record(bus, 'points');
    const admin = await openAdmin();
    const send = (body: string, contentType = 'application/cloudevents-batch+json') =>
      admin.publish(exchangeOf(topology), 'order.placed', Buffer.from(body), { contentType });
    send(' [ {"id":"a"} , {"id":"b"}]\n', 'Application/CloudEvents-Batch+JSON; charset=utf-8');
    send('[{"id":"c"},{"id":,7},{"id":"d"}]');
    send('[{"id":"e"},{"id":"e"}]');
    send('[]');
    send('[{"id":"f"}');
    const many = `[${'1,'.repeat(200)}1]`;
    send(many);
    const large = `[{"id":"g","x":"${'x'.repeat(1024 * 1024)}"}]`;
    send(large);
    const unread = ['{"id":,7}', '[{"id":"f"}'];
    await recorder.toHandle([' a', 'b', 'c', 'd', 'e', ...unread].map((id) => id.trim()));
    await recorder.toHandle([await publishOne(bus)]);
    const next = recorder.handled.slice(0, -1);
    expect(next.filter((id) => id !== undefined).sort()).toEqual(['a', 'b', 'c', 'd', 'e', 'e', ...unread].sort());
    // Those with too many events or bytes are arrays, which have no id.
    expect(next.filter((id) => id === undefined)).toHaveLength(2);
  });

  test('if its deliveries all fail, its events are isolated instead of dead', async () => {
    const bus = await openBus({ deliveryLimit: 3, eventsPerMessage: 5 });
    const batch = events(5);
    const poison = batch[2]?.id ?? '';
    const recorder = new Recorder((ids) => {
      if (ids.includes(poison)) throw new Error('poison');
    });
    await subscribe(bus, 'points', recorder);
    await bus.publish(batch);
    await eventually(() => recorder.isolated.length > 0, { what: 'the message is a dead letter' });
    expect(recorder.isolated).toEqual(batch.map(({ id }) => id));
    expect(recorder.deadLettered).toEqual([]);
  });

  test('if it is a dead letter for another reason, its events are dead', async () => {
    const bus = await openBus();
    const batch = events(5);
    await bus.publish(batch);
    const admin = await openAdmin();
    const taken = await admin.get(queueOf(topology, 'points'));
    if (taken) admin.reject(taken, false);
    const recorder = await record(bus, 'points');
    await eventually(() => recorder.deadLettered.length > 0, { what: 'the dead letter is read' });
    expect(recorder.deadLettered).toEqual(batch.map(({ id }) => ({ id, reason: 'dead letter: rejected' })));
    expect(recorder.isolated).toEqual([]);
  });
});

describe('a group that receives only some events of a type', () => {
  const narrowed = { sale: { 'order.placed': 'order.placed.ticket' } };
  const ticket = (): OutgoingEvent => ({ ...event(), routingKey: 'order.placed.ticket' });
  const withSale = () => ({ ...topology, groups: { ...topology.groups, sale: ['order.placed'] }, narrowed });

  test('loses the binding of 0.2.0, which received all, and keeps the messages that wait', async () => {
    const before = await openBus({ topology: { ...withSale(), narrowed: {} } });
    const early = await publishOne(before);
    await before.close();
    const bus = await openBus({ topology: withSale() });
    const [shop, tickets] = [events(30), Array.from({ length: 30 }, ticket)];
    expect(await bus.publish([...shop, ...tickets])).toEqual([]);
    const [points, sale] = [await record(bus, 'points'), await record(bus, 'sale')];
    await points.toHandle([...shop, ...tickets].map(({ id }) => id));
    await sale.toHandle([early, ...tickets.map(({ id }) => id)]);
    expect(sale.handled).toHaveLength(31);
  });
});

describe('broken connections', () => {
  test('loses no event when connections are reset while publishing and consuming', async () => {
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

  test('connects again when connections end during set-up', async () => {
    // Bytes from the server: within its greeting, after it, after the tuning, and while channels and queues are
    // created.
    const url = await openLimitedProxy([8, 500, 540, 560, 580, 620, 700]);
    const bus = await openBus({ url });
    await publishOne(bus);
    expect(bus.health()).toEqual({ status: 'up' });
  });

  test('publish() settles in time on a connection that drops everything, and recovers', async () => {
    const { proxy, url } = await openProxy();
    const bus = await openBus({ url, confirmTimeoutMs: 500 });
    const recorder = await record(bus, 'points');
    await publishOne(bus);
    proxy.swallow(true);
    const start = performance.now();
    expect(codesOf(await bus.publish(events(100)))).toEqual(['unconfirmed']);
    expect(codesOf(await bus.publish(events(100)))).toEqual(['unavailable']);
    expect(performance.now() - start).toBeLessThan(500 + PAUSES_MS);
    await eventually(() => bus.health().status === 'down', { what: 'the bus is down' });
    proxy.sever();
    proxy.swallow(false);
    await recorder.toHandle([await publishOne(bus)]);
  });

  test('close() ends in time on a connection that drops everything', async () => {
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

  test('a bus that is opened while the broker is away works when the broker is back', async () => {
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

test('names a vhost that is missing, or that the user may not use', async () => {
  const lines: string[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(line) });
  const known = new URL(server.amqpUrl);
  await server.ctl('add_user', 'stranger', 'secret');
  for (const [login, vhost, expected] of [
    [`${known.username}:${known.password}`, '/absent', `there is no vhost "absent", or the user "${known.username}"`],
    [`${known.username}:${known.password}`, '/a%2Fb', `there is no vhost "a/b", or the user "${known.username}"`],
    ['stranger:secret', '', 'there is no vhost "/", or the user "stranger"'],
  ]) {
    await openBus({ url: `amqp://${login}@${known.host}${vhost}`, log });
    const reason = `${expected} may not use it`;
    await eventually(() => lines.some((line) => JSON.parse(line).reason === reason), { what: reason });
  }
});

describe('a failing broker', () => {
  test('publish() settles in time while the disk is full, consumers continue, and publishing resumes', async () => {
    const bus = await openBus({ confirmTimeoutMs: 500, maxUnconfirmed: 50 });
    const before = await publishOne(bus);
    cleanUps.push(() => server.ctl('set_disk_free_limit', '50MB'));
    await server.ctl('set_disk_free_limit', '9000GB');
    // The broker announces the alarm to its connections with a delay.
    await eventually(async () => (await bus.publish(events(1))).length === 1, { what: 'the alarm is in force' });
    for (let round = 0; round < 3; round++) {
      const start = performance.now();
      const failures = await bus.publish(events(1_000));
      expect(failures).toHaveLength(1_000);
      expect(['unavailable', 'unconfirmed']).toEqual(expect.arrayContaining(codesOf(failures)));
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
    'loses no accepted event when it is killed and restarted while events are published',
    async () => {
      const bus = await openBus();
      const recorder = await record(bus, 'points');
      const crash = async () => {
        await recorder.toHandleAnother(500);
        // RabbitMQ saves its directory of queues periodically. A queue that is missing there comes back without a
        // leader.
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

/** Publishes batches of 100 until `fault` resolves. Returns the accepted ids, and the error codes of the others. */
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
    const failures = await bus.publish(batch);
    for (const code of codesOf(failures)) codes.add(code);
    const ids = new Set(failures.map(({ id }) => id));
    accepted.push(...batch.map(({ id }) => id).filter((id) => !ids.has(id)));
  }
  await fault;
  return { accepted, codes };
}

/** Takes the messages that wait for a group, which has no consumer. They may be stored in any order. */
async function storedMessages(group: string, count: number) {
  const admin = await openAdmin();
  const queue = queueOf(topology, group);
  await eventually(async () => (await admin.checkQueue(queue)).messageCount === count, {
    what: `${count} messages wait`,
  });
  const messages = [];
  for (let message = await admin.get(queue); message; message = await admin.get(queue)) {
    const { fields, properties, content } = message;
    const { contentType, messageId } = properties;
    messages.push({ key: fields.routingKey, contentType, messageId, body: content.toString() });
  }
  return messages;
}

/** Makes the queue's leader hang; returns a function that ends that. */
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

/** A proxy that ends each of its first connections after a number of bytes from the server, and forwards later ones. */
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
  url.port = String(await listen(proxy));
  cleanUps.push(async () => proxy.close());
  return url.href;
}
