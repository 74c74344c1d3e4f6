// The guarantees of every event bus (infra/bus/port.ts), together with the inbox that it delivers to: the same tests
// for each adapter on each broker. Behaviour of a single adapter is tested in a file of its own.
import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import type { OutgoingEvent } from '../../infra/bus/port.ts';
import { MAX_EVENT_BYTES } from '../../infra/bus/port.ts';
import type { Topology } from '../../infra/bus/topology.ts';
import { type Broker, type BusProcess, busFixtures, type Databases } from '../setup/bus-fixtures.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { retryFailedOne } from '../setup/failed.ts';
import { createTables, type Group, GroupConsumer, type GroupConsumerOptions } from '../setup/group-consumer.ts';
import { orderPlaced, outgoingEvent } from '../setup/outgoing-events.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

/** For tests that wait for several timers: reconnects, leases. */
const SLOW = { timeoutMs: 20_000 };

const fixtures = busFixtures(inject('servers')).map((fixture) => [fixture.name, fixture] as const);

describe.for(fixtures)('%s', ([, fixture]) => {
  const busTest = test.skipIf(!fixture.available);
  // A test that does not apply to a transport is not reported as skipped.
  const notApplicable = () => {};
  const networkTest = fixture.network ? busTest : notApplicable;
  const sharingTest = fixture.shares ? busTest : notApplicable;
  const narrowingTest = fixture.narrows ? busTest : notApplicable;

  let databases: Databases;
  let broker: Broker;
  let topology: Topology;
  let groups: Map<string, Group>;
  const latches: (() => void)[] = [];

  beforeAll(async () => {
    if (!fixture.available) return;
    databases = await fixture.openDatabases();
    broker = await fixture.openBroker(databases);
  });
  afterAll(async () => {
    await broker?.close();
    await databases?.close();
  });

  beforeEach(async () => {
    if (!fixture.available) return;
    topology = {
      prefix: freshPrefix(),
      groups: { points: ['order.placed'], coupon: ['order.placed'], order: ['points.awarded', 'coupon.skipped'] },
    };
    groups = new Map(
      Object.keys(topology.groups).map((name) => [name, { name, schema: `g_${randomUUID().replaceAll('-', '')}` }]),
    );
    for (const group of groups.values()) await createTables(databases.database, group);
    cleanUps.push(() => broker.forget(topology));
  });
  afterEach(async () => {
    for (const release of latches.splice(0)) release();
  });

  const schemaOf = (name: string) => {
    const group = groups.get(name);
    if (!group) throw new RangeError(`no group ${name}`);
    return group.schema;
  };

  async function openProcess(): Promise<BusProcess> {
    const process = await broker.openProcess(topology, schemaOf);
    cleanUps.push(() => process.close());
    return process;
  }

  async function join(process: BusProcess, name: string, options: GroupConsumerOptions = {}): Promise<GroupConsumer> {
    const consumer = await GroupConsumer.join(process, topology, { name, schema: schemaOf(name) }, options);
    cleanUps.push(() => consumer.close());
    return consumer;
  }

  /** Publishes until every event is taken over, as the relay does. */
  async function publish(process: BusProcess, events: readonly OutgoingEvent[]): Promise<void> {
    let rest = events;
    await eventually(
      async () => {
        const failed = new Set((await process.bus.publish(rest)).map(({ id }) => id));
        rest = rest.filter(({ id }) => failed.has(id));
        return rest.length === 0;
      },
      { what: 'all events are published', ...SLOW },
    );
  }

  /** The event id of every effect. */
  const effects = async (group: string): Promise<string[]> =>
    (
      await databases.database.query<{ event_id: string }>(`SELECT event_id FROM ${schemaOf(group)}.effects ORDER BY 1`)
    ).map(({ event_id }) => event_id);

  const effectsBy = async (group: string, consumer: string): Promise<number> =>
    (await databases.database.query(`SELECT FROM ${schemaOf(group)}.effects WHERE consumer = $1`, [consumer])).length;

  /** Waits until every event has had its effect, and expects no other effects. */
  async function expectEffects(group: string, events: readonly OutgoingEvent[]): Promise<void> {
    const ids = events.map(({ id }) => id).sort();
    await eventually(async () => new Set(await effects(group)).size >= ids.length, {
      what: `${ids.length} events have their effect on ${group}`,
      ...SLOW,
    });
    expect(await effects(group)).toEqual(ids);
  }

  const failed = (consumer: GroupConsumer) => consumer.failed.list({}, undefined, 1_000);

  /** Blocks handlers until it is released, at the latest when the test ends. */
  function latch() {
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    latches.push(release);
    return { released, release };
  }

  busTest('delivers each event, byte for byte, to each of its groups and to no other', async () => {
    const process = await openProcess();
    // The inbox keeps failed messages as they arrived.
    const failing = {
      prepare: () => Promise.reject(new Error('kept for the test')),
      retryMs: 60_000,
    };
    const consumers = new Map<string, GroupConsumer>();
    for (const name of groups.keys()) consumers.set(name, await join(process, name, failing));

    const { id, type, body } = orderPlaced();
    const bodies = [
      body,
      JSON.stringify(JSON.parse(body), null, '\t'),
      JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(body)).reverse())),
      body.replace('{', '{"note":"Füße, 🛒, \\u0000, \\ud83d, \\\\, \\"",'),
      body.padEnd(MAX_EVENT_BYTES),
    ];
    const placed = bodies.map((text): OutgoingEvent => {
      const own = uuidv7();
      return { id: own, type, body: text.replaceAll(id, own) };
    });
    const awarded = pointsAwarded();
    await publish(process, [...placed, awarded]);

    const received = async (name: string) =>
      (await failed(consumers.get(name) as GroupConsumer)).map((row) => Buffer.from(row.body ?? []).toString()).sort();
    for (const [name, sent] of [
      ['points', placed],
      ['coupon', placed],
      ['order', [awarded]],
    ] as const) {
      await eventually(async () => (await received(name)).length >= sent.length, {
        what: `${name} has received them`,
        ...SLOW,
      });
      expect(await received(name)).toEqual(sent.map((event) => event.body).sort());
    }
  });

  narrowingTest(
    'delivers only the events with its routing key to a group that receives no others of the type',
    async () => {
      topology = { ...topology, narrowed: { coupon: { 'order.placed': 'order.placed.ticket' } } };
      const process = await openProcess();
      await join(process, 'points');
      const coupon = await join(process, 'coupon');
      const shop = Array.from({ length: 20 }, () => orderPlaced());
      const tickets = Array.from({ length: 20 }, () => ({ ...orderPlaced(), routingKey: 'order.placed.ticket' }));
      await publish(process, [...shop, ...tickets]);
      await expectEffects('points', [...shop, ...tickets]);
      await expectEffects('coupon', tickets);
      expect(coupon.outcomes).toHaveLength(20);
    },
  );

  busTest(
    'delivers 2,000 events that are published at the same time, each once',
    async () => {
      const [one, other] = [await openProcess(), await openProcess()];
      await join(one, 'points');
      await join(other, 'coupon');
      const events = Array.from({ length: 2_000 }, () => orderPlaced());
      const batches = Array.from({ length: 40 }, (_, index) => events.slice(index * 50, index * 50 + 50));
      await Promise.all(batches.map((batch, index) => publish(index % 2 ? one : other, batch)));
      await expectEffects('points', events);
      await expectEffects('coupon', events);
    },
    60_000,
  );

  busTest('keeps events for a group that has never run, or is away', async () => {
    const process = await openProcess();
    const early = [orderPlaced(), orderPlaced()];
    await publish(process, early);
    const consumer = await join(process, 'points');
    await expectEffects('points', early);
    await consumer.close();

    const missed = [orderPlaced(), orderPlaced()];
    await publish(process, missed);
    await join(process, 'points');
    await expectEffects('points', [...early, ...missed]);
  });

  busTest('keeps published events when the publisher dies right after', async () => {
    const doomed = await openProcess();
    const events = Array.from({ length: 100 }, () => orderPlaced());
    await publish(doomed, events);
    if (broker.waiting) expect(await broker.waiting(schemaOf('points'))).toBe(events.length);
    await doomed.crash();
    await join(await openProcess(), 'points');
    await expectEffects('points', events);
  });

  busTest('calls a handler that throws again, without delaying other messages', async () => {
    const process = await openProcess();
    const bad = orderPlaced();
    const good = Array.from({ length: 20 }, () => orderPlaced());
    const { released, release } = latch();
    let attempts = 0;
    const consumer = await join(process, 'points', {
      attempts: 100,
      handle: (events) => {
        if (!events.some(({ id }) => id === bad.id)) return;
        attempts++;
        if (attempts < 4) throw new Error('not yet');
      },
      prepare: async ({ id }) => {
        if (id === bad.id && attempts > 0) await released;
      },
    });
    await publish(process, [...good.slice(0, 10), bad, ...good.slice(10)]);
    await expectEffects('points', good);
    expect(await failed(consumer)).toMatchObject([{ message_id: bad.id, status: 'retrying', error: 'not yet' }]);
    release();
    await expectEffects('points', [...good, bad]);
    expect(await failed(consumer)).toEqual([]);
  });

  busTest('lists a message as dead after its last attempt, reports it, and retries it on demand', async () => {
    const process = await openProcess();
    let broken = true;
    const attempts: string[] = [];
    const consumer = await join(process, 'points', {
      attempts: 3,
      prepare: async ({ id }) => {
        attempts.push(id);
        if (broken) throw new Error('the bank says no');
      },
    });
    const event = orderPlaced();
    await publish(process, [event]);
    const dead = await eventually(async () => (await failed(consumer)).find(({ status }) => status === 'dead'), {
      what: 'the message is dead',
    });
    expect(dead).toMatchObject({ message_id: event.id, type: event.type, attempts: 3, error: 'the bank says no' });
    expect(attempts).toEqual([event.id, event.id, event.id]);
    expect(Buffer.from(dead.body ?? []).toString()).toBe(event.body);
    const [report] = await replies('points');
    expect(report).toMatchObject({ type: 'step.failed', subject: subjectOf(event) });
    expect(JSON.parse(report?.data ?? '')).toMatchObject({
      eventId: event.id,
      of: event.type,
      error: 'the message was not handled',
    });
    expect(report?.data).not.toContain('the bank says no');

    broken = false;
    expect(await retryFailedOne(consumer.failed, event.id)).toBe(true);
    consumer.inbox.wake();
    await expectEffects('points', [event]);
    expect(await failed(consumer)).toEqual([]);
  });

  busTest('handles messages of a process that died while handling them', async () => {
    const doomed = await openProcess();
    const { released } = latch();
    let begun = 0;
    const first = await join(doomed, 'points', {
      leaseMs: 400,
      prepare: () => {
        begun++;
        return released;
      },
    });
    const events = Array.from({ length: 5 }, () => orderPlaced());
    await publish(doomed, events);
    await eventually(() => begun === events.length, { what: 'all events are being handled' });
    first.crash();
    await doomed.crash();
    await join(await openProcess(), 'points');
    await expectEffects('points', events);
  });

  // Not on the local bus, where messages arrive by being stored.
  networkTest('delivers messages that a process had received and not stored when it died', async () => {
    const doomed = await openProcess();
    const { released } = latch();
    let arrived = false;
    const first = await join(doomed, 'points', {
      receive: () => {
        arrived = true;
        return released;
      },
    });
    const events = Array.from({ length: 5 }, () => orderPlaced());
    await publish(doomed, events);
    await eventually(() => arrived, { what: 'a message has arrived' });
    expect(await effects('points')).toEqual([]);
    first.crash();
    await doomed.crash();
    await join(await openProcess(), 'points');
    await expectEffects('points', events);
  });

  sharingTest('distributes the events of a group among its processes', async () => {
    const processes = { left: await openProcess(), right: await openProcess() };
    const { released, release } = latch();
    const busy = new Set<string>();
    for (const [name, process] of Object.entries(processes)) {
      await join(process, 'points', {
        name,
        prefetch: 10,
        // Neither continues before both have a message.
        prepare: () => {
          busy.add(name);
          if (busy.size === 2) release();
          return released;
        },
      });
    }
    const events = Array.from({ length: 200 }, () => orderPlaced());
    await publish(processes.left, events);
    await expectEffects('points', events);
    const [left, right] = [await effectsBy('points', 'left'), await effectsBy('points', 'right')];
    expect(left + right).toBe(200);
    expect(Math.min(left, right)).toBeGreaterThan(0);
  });

  busTest('continues in one process of a group when another one stops', async () => {
    const [one, other] = [await openProcess(), await openProcess()];
    const leaving = await join(one, 'points');
    await join(other, 'points');
    const before = Array.from({ length: 20 }, () => orderPlaced());
    await publish(other, before);
    await expectEffects('points', before);
    await leaving.close();
    const after = Array.from({ length: 20 }, () => orderPlaced());
    await publish(other, after);
    await expectEffects('points', [...before, ...after]);
  });

  networkTest('restores broken connections without losing events', async () => {
    const process = await openProcess();
    const consumer = await join(process, 'points');
    const events: OutgoingEvent[] = [];
    for (let round = 0; round < 3; round++) {
      const batch = Array.from({ length: 50 }, () => orderPlaced());
      const publishing = publish(process, batch);
      process.sever();
      await publishing;
      events.push(...batch);
    }
    await expectEffects('points', events);
    await eventually(() => consumer.subscription.health().status === 'up', { what: 'the subscription is up', ...SLOW });
    await eventually(() => process.bus.health().status === 'up', { what: 'the bus is up', ...SLOW });
  });

  busTest('rejects oversized and unroutable events, and publishes the others of the batch', async () => {
    const process = await openProcess();
    await join(process, 'points');
    const oversized = orderPlaced();
    const oversizedEvent = { ...oversized, body: oversized.body.padEnd(MAX_EVENT_BYTES + 1) };
    const unroutable = stepFailed();
    const good = [orderPlaced(), orderPlaced()];
    const failures = await process.bus.publish([oversizedEvent, ...good.slice(0, 1), unroutable, ...good.slice(1)]);
    const codes = new Map(failures.map(({ id, error }) => [id, error.code]));
    expect(codes).toEqual(
      new Map([
        [oversizedEvent.id, 'oversized'],
        [unroutable.id, 'unroutable'],
      ]),
    );
    await expectEffects('points', good);
  });

  busTest('has one effect of an event that arrives three times at once, and resends the reply', async () => {
    const process = await openProcess();
    await join(process, 'points');
    const event = orderPlaced();
    await Promise.all([1, 2, 3].map(() => publish(process, [event])));
    await expectEffects('points', [event]);
    const replied = await eventually(async () => (await replies('points')).length, { what: 'a reply is written' });

    // Copies may still be in transit: one more event causes at least one more reply.
    await publish(process, [event]);
    await eventually(async () => (await replies('points')).length > replied, {
      what: 'the reply is resent',
      ...SLOW,
    });
    const written = await replies('points');
    expect(
      new Set(written.map(({ event_id, type, data, time }) => JSON.stringify([event_id, type, data, time]))).size,
    ).toBe(1);
    expect(written[0]?.subject).toBe(subjectOf(event));
    expect(await effects('points')).toEqual([event.id]);
  });

  // As after resends while the broker or the group was away.
  busTest('accepts an event that is contained several times in a batch, or in the queue of a group', async () => {
    const process = await openProcess();
    const [twice, once, later] = [orderPlaced(), orderPlaced(), orderPlaced()];
    expect(await process.bus.publish([twice, once, twice])).toEqual([]);
    await publish(process, [twice]);
    await join(process, 'points');
    await expectEffects('points', [twice, once]);
    await publish(process, [later]);
    await expectEffects('points', [twice, once, later]);
  });

  busTest('records unreadable messages as dead at once, with a reason, without delaying others', async () => {
    const process = await openProcess();
    const before = Array.from({ length: 5 }, () => orderPlaced());
    const after = Array.from({ length: 5 }, () => orderPlaced());
    await publish(process, before);
    const { released, release } = latch();
    const consumer = await join(process, 'points', { prepare: () => released });
    const poison = unreadable().filter(({ body }) => fixture.anyBytes || isUtf8(body));
    for (const { body } of poison) await broker.inject(topology, schemaOf('points'), 'order.placed', body);
    await publish(process, after);
    release();

    await expectEffects('points', [...before, ...after]);
    const dead = await eventually(
      async () => {
        const rows = await failed(consumer);
        return rows.length >= poison.length && rows;
      },
      { what: 'all unreadable messages are dead', ...SLOW },
    );
    const reasons = new Map(
      dead.map(({ body, status, error }) => [Buffer.from(body ?? []).toString('base64'), `${status}: ${error}`]),
    );
    // The first 64 KiB are stored.
    for (const { body, reason } of poison)
      expect(reasons.get(body.subarray(0, 65_536).toString('base64'))).toMatch(reason);
    expect(dead).toHaveLength(poison.length);
    // A dead message that names its order is reported to it.
    const reportable = poison.flatMap(({ subject }) => subject ?? []);
    const reported = (await replies('points')).filter(({ type }) => type === 'step.failed');
    expect(reported.map(({ subject }) => subject).sort()).toEqual(reportable.sort());
  });

  busTest('finishes running handlers on close, and leaves other messages untouched', async () => {
    const process = await openProcess();
    const { released, release } = latch();
    const handling: string[] = [];
    const consumer = await join(process, 'points', {
      prepare: ({ id }) => {
        handling.push(id);
        return released;
      },
    });
    const events = Array.from({ length: 200 }, () => orderPlaced());
    await publish(process, events);
    await eventually(() => handling.length >= 10, { what: 'some events are being handled' });
    let closed = false;
    const closing = consumer.close().then(() => {
      closed = true;
    });
    expect(closed).toBe(false);
    release();
    await closing;
    expect(await effects('points')).toEqual(handling.sort());

    const next = await join(process, 'points');
    await expectEffects('points', events);
    // Messages that the first one handled are not delivered again.
    expect(next.outcomes).toEqual(events.slice(handling.length).map(() => 'done'));
  });

  busTest('waits for pending publishes on close of the bus', async () => {
    const process = await openProcess();
    const events = Array.from({ length: 200 }, () => orderPlaced());
    const publishing = process.bus.publish(events);
    await process.bus.close();
    const failed = new Set((await publishing).map(({ id }) => id));
    expect(failed).toEqual(new Set());
    await join(await openProcess(), 'points');
    await expectEffects('points', events);
  });

  busTest('treats ids that differ only in case as equal', async () => {
    const process = await openProcess();
    await join(process, 'points');
    const event = orderPlaced();
    const upperCase = event.body.replaceAll(event.id, event.id.toUpperCase());
    await broker.inject(topology, schemaOf('points'), 'order.placed', Buffer.from(upperCase));
    await publish(process, [event]);
    await expectEffects('points', [event]);
  });

  /** The events in the group's outbox. */
  const replies = (group: string) =>
    databases.database.query<{ event_id: string; type: string; subject: string; time: Date; data: string }>(
      `SELECT event_id, type, subject, time, data FROM ${schemaOf(group)}.outbox ORDER BY position`,
    );
});

function pointsAwarded(): OutgoingEvent {
  const orderId = uuidv7();
  return outgoingEvent('points.awarded', orderId, { orderId, userId: 'alice', points: 59 });
}

function stepFailed(): OutgoingEvent {
  const orderId = uuidv7();
  return outgoingEvent('step.failed', orderId, { orderId, step: 'points', eventId: uuidv7(), error: 'no reason' });
}

const subjectOf = ({ body }: OutgoingEvent) => (JSON.parse(body) as { subject: string }).subject;

/** Bodies that are not valid events of this system, the reason, and the order that they name, if any. */
function unreadable(): { body: Buffer; reason: RegExp; subject?: string }[] {
  const changed = (changes: object, reason: RegExp) => {
    const { body } = orderPlaced();
    const event = { ...(JSON.parse(body) as { subject: string }), ...changes };
    return { body: Buffer.from(JSON.stringify(event)), reason, subject: event.subject };
  };
  return [
    { body: Buffer.from('{"id":'), reason: /dead: unreadable: .*JSON/ },
    { body: Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]), reason: /dead: unreadable: .*(encoded|utf-8)/i },
    { body: Buffer.from('null'), reason: /dead: unreadable: no type/ },
    { body: Buffer.from('[1,2]'), reason: /dead: unreadable: no type/ },
    changed({ id: undefined }, /dead: unreadable: id: /),
    changed({ id: 'order-1' }, /dead: unreadable: id: /),
    changed({ type: 'order.teleported' }, /dead: unreadable: unknown type order\.teleported/),
    changed({ type: 7 }, /dead: unreadable: no type/),
    changed({ specversion: '0.3' }, /dead: unreadable: specversion: /),
    changed({ data: { orderId: 'none', total: -1 } }, /dead: unreadable: data\.orderId: .*data\.total: /),
    tooLarge(),
    { ...notForPoints(), reason: /dead: points\.awarded is not for this service/ },
  ];
}

/** Rejected by its size, without parsing. */
function tooLarge() {
  const { body } = orderPlaced();
  return { body: Buffer.from(body.padEnd(1_000_000)), reason: /dead: unreadable: 1000000 bytes, allowed 65536/ };
}

function notForPoints() {
  const awarded = pointsAwarded();
  return { body: Buffer.from(awarded.body), subject: subjectOf(awarded) };
}
