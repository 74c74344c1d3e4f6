// What every event bus promises (infra/bus/port.ts), together with the inbox that it delivers to: the same tests over
// each adapter on each broker. What is particular to one of them has a file of its own.
import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import type { EventData, EventType } from '../../contracts/events.ts';
import type { OutgoingEvent } from '../../infra/bus/port.ts';
import { MAX_EVENT_BYTES } from '../../infra/bus/port.ts';
import type { Topology } from '../../infra/bus/topology.ts';
import { type Broker, busFixtures, type Databases, type Peer } from '../setup/bus-fixtures.ts';
import { createTables, type Group, Member, type MemberOptions } from '../setup/member.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

/** For what goes over several brokers' timers: reconnecting, leases. */
const SLOW = { timeoutMs: 20_000 };

const fixtures = busFixtures(inject('servers')).map((fixture) => [fixture.name, fixture] as const);

describe.for(fixtures)('%s', ([, fixture]) => {
  const onFixture = test.skipIf(!fixture.available);
  // What a transport cannot do by its nature is not a test that was left out.
  const notHere = () => {};
  const onNetwork = fixture.network ? onFixture : notHere;
  const whereShared = fixture.shares ? onFixture : notHere;

  let databases: Databases;
  let broker: Broker;
  let topology: Topology;
  let groups: Map<string, Group>;
  const cleanUps: (() => unknown)[] = [];
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
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  });

  const schemaOf = (name: string) => {
    const group = groups.get(name);
    if (!group) throw new RangeError(`no group ${name}`);
    return group.schema;
  };

  async function openPeer(): Promise<Peer> {
    const peer = await broker.openPeer(topology, schemaOf);
    cleanUps.push(() => peer.close());
    return peer;
  }

  async function join(peer: Peer, name: string, options: MemberOptions = {}): Promise<Member> {
    const member = await Member.join(peer, topology, { name, schema: schemaOf(name) }, options);
    cleanUps.push(() => member.close());
    return member;
  }

  /** Publishes until everything is taken over, as the relay does. */
  async function publish(peer: Peer, events: readonly OutgoingEvent[]): Promise<void> {
    let rest = events;
    await eventually(
      async () => {
        const rejected = new Set((await peer.bus.publish(rest)).map(({ id }) => id));
        rest = rest.filter(({ id }) => rejected.has(id));
        return rest.length === 0;
      },
      { what: 'all events are published', ...SLOW },
    );
  }

  /** The ids of the events that had their effect, once for each time. */
  const effects = async (group: string): Promise<string[]> =>
    (
      await databases.database.query<{ event_id: string }>(`SELECT event_id FROM ${schemaOf(group)}.effects ORDER BY 1`)
    ).map(({ event_id }) => event_id);

  const effectsBy = async (group: string, member: string): Promise<number> =>
    (await databases.database.query(`SELECT FROM ${schemaOf(group)}.effects WHERE member = $1`, [member])).length;

  /** Waits until every one of the events had its effect; there may be no second one, and none of another event. */
  async function toHaveHadEffect(group: string, events: readonly OutgoingEvent[]): Promise<void> {
    const ids = events.map(({ id }) => id).sort();
    await eventually(async () => new Set(await effects(group)).size >= ids.length, {
      what: `${ids.length} events have their effect on ${group}`,
      ...SLOW,
    });
    expect(await effects(group)).toEqual(ids);
  }

  const failed = (member: Member) => member.inbox.failed.list({}, undefined, 1_000);

  /** Something for a handler to wait for, released at the end of the test at the latest. */
  function latch() {
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    latches.push(release);
    return { released, release };
  }

  onFixture('each event reaches each of its groups, and no other, byte for byte', async () => {
    const peer = await openPeer();
    // What fails is kept as it arrived.
    const failing = {
      prepare: () => Promise.reject(new Error('kept for the test')),
      retryMs: 60_000,
    };
    const members = new Map<string, Member>();
    for (const name of groups.keys()) members.set(name, await join(peer, name, failing));

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
    await publish(peer, [...placed, awarded]);

    const received = async (name: string) =>
      (await failed(members.get(name) as Member)).map((row) => Buffer.from(row.body ?? []).toString()).sort();
    for (const [name, sent] of [
      ['points', placed],
      ['coupon', placed],
      ['order', [awarded]],
    ] as const) {
      await eventually(async () => (await received(name)).length >= sent.length, { what: `${name} has them`, ...SLOW });
      expect(await received(name)).toEqual(sent.map((event) => event.body).sort());
    }
  });

  onFixture(
    '2,000 events that are published at the same time all arrive, once',
    async () => {
      const [one, other] = [await openPeer(), await openPeer()];
      await join(one, 'points');
      await join(other, 'coupon');
      const events = Array.from({ length: 2_000 }, () => orderPlaced());
      const batches = Array.from({ length: 40 }, (_, index) => events.slice(index * 50, index * 50 + 50));
      await Promise.all(batches.map((batch, index) => publish(index % 2 ? one : other, batch)));
      await toHaveHadEffect('points', events);
      await toHaveHadEffect('coupon', events);
    },
    60_000,
  );

  onFixture('a group that was never there, or is away, finds what it missed', async () => {
    const peer = await openPeer();
    const early = [orderPlaced(), orderPlaced()];
    await publish(peer, early);
    const member = await join(peer, 'points');
    await toHaveHadEffect('points', early);
    await member.close();

    const missed = [orderPlaced(), orderPlaced()];
    await publish(peer, missed);
    await join(peer, 'points');
    await toHaveHadEffect('points', [...early, ...missed]);
  });

  onFixture('what is published is with the broker, though the publisher dies right after', async () => {
    const doomed = await openPeer();
    const events = Array.from({ length: 100 }, () => orderPlaced());
    await publish(doomed, events);
    if (broker.kept) expect(await broker.kept(schemaOf('points'))).toBe(events.length);
    await doomed.crash();
    await join(await openPeer(), 'points');
    await toHaveHadEffect('points', events);
  });

  onFixture('a handler that throws is called again, and holds up nobody', async () => {
    const peer = await openPeer();
    const bad = orderPlaced();
    const good = Array.from({ length: 20 }, () => orderPlaced());
    const { released, release } = latch();
    let attempts = 0;
    const member = await join(peer, 'points', {
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
    await publish(peer, [...good.slice(0, 10), bad, ...good.slice(10)]);
    await toHaveHadEffect('points', good);
    expect(await failed(member)).toMatchObject([{ message_id: bad.id, status: 'retrying', error: 'not yet' }]);
    release();
    await toHaveHadEffect('points', [...good, bad]);
    expect(await failed(member)).toEqual([]);
  });

  onFixture(
    'after its last attempt a message is dead: listed with its reason, reported, retried on demand',
    async () => {
      const peer = await openPeer();
      let broken = true;
      const attempts: string[] = [];
      const member = await join(peer, 'points', {
        attempts: 3,
        prepare: async ({ id }) => {
          attempts.push(id);
          if (broken) throw new Error('the bank says no');
        },
      });
      const event = orderPlaced();
      await publish(peer, [event]);
      const dead = await eventually(async () => (await failed(member)).find(({ status }) => status === 'dead'), {
        what: 'it is dead',
      });
      expect(dead).toMatchObject({ message_id: event.id, type: event.type, attempts: 3, error: 'the bank says no' });
      expect(attempts).toEqual([event.id, event.id, event.id]);
      expect(Buffer.from(dead.body ?? []).toString()).toBe(event.body);
      const [report] = await answers('points');
      expect(report).toMatchObject({ type: 'step.failed', subject: subjectOf(event) });
      expect(JSON.parse(report?.data ?? '')).toMatchObject({
        eventId: event.id,
        of: event.type,
        error: 'the message was not handled',
      });
      expect(report?.data).not.toContain('the bank says no');

      broken = false;
      expect(await member.inbox.failed.retry({ id: event.id })).toBe(1);
      member.inbox.wake();
      await toHaveHadEffect('points', [event]);
      expect(await failed(member)).toEqual([]);
    },
  );

  onFixture('what was being handled when its process died is handled by another', async () => {
    const doomed = await openPeer();
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
    await eventually(() => begun === events.length, { what: 'all are being handled' });
    first.crash();
    await doomed.crash();
    await join(await openPeer(), 'points');
    await toHaveHadEffect('points', events);
  });

  // On a broker: the local bus has no moment between arriving and being stored.
  onNetwork('what had arrived and was not stored when its process died is delivered to another', async () => {
    const doomed = await openPeer();
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
    await eventually(() => arrived, { what: 'something has arrived' });
    expect(await effects('points')).toEqual([]);
    first.crash();
    await doomed.crash();
    await join(await openPeer(), 'points');
    await toHaveHadEffect('points', events);
  });

  whereShared('the members of a group share its events', async () => {
    const peers = { left: await openPeer(), right: await openPeer() };
    const { released, release } = latch();
    const busy = new Set<string>();
    for (const [name, peer] of Object.entries(peers)) {
      await join(peer, 'points', {
        name,
        prefetch: 10,
        // Nobody goes on before both have something to do.
        prepare: () => {
          busy.add(name);
          if (busy.size === 2) release();
          return released;
        },
      });
    }
    const events = Array.from({ length: 200 }, () => orderPlaced());
    await publish(peers.left, events);
    await toHaveHadEffect('points', events);
    const [left, right] = [await effectsBy('points', 'left'), await effectsBy('points', 'right')];
    expect(left + right).toBe(200);
    expect(Math.min(left, right)).toBeGreaterThan(0);
  });

  onFixture('when one member leaves, the other goes on', async () => {
    const [one, other] = [await openPeer(), await openPeer()];
    const leaving = await join(one, 'points');
    await join(other, 'points');
    const before = Array.from({ length: 20 }, () => orderPlaced());
    await publish(other, before);
    await toHaveHadEffect('points', before);
    await leaving.close();
    const after = Array.from({ length: 20 }, () => orderPlaced());
    await publish(other, after);
    await toHaveHadEffect('points', [...before, ...after]);
  });

  onNetwork('connections that are destroyed come back, and nothing is lost', async () => {
    const peer = await openPeer();
    const member = await join(peer, 'points');
    const events: OutgoingEvent[] = [];
    for (let round = 0; round < 3; round++) {
      const batch = Array.from({ length: 50 }, () => orderPlaced());
      const publishing = publish(peer, batch);
      peer.cut();
      await publishing;
      events.push(...batch);
    }
    await toHaveHadEffect('points', events);
    await eventually(() => member.subscription.health().status === 'up', { what: 'the subscription is up', ...SLOW });
    await eventually(() => peer.bus.health().status === 'up', { what: 'the bus is up', ...SLOW });
  });

  onFixture('what is too large, or for nobody, is an error; what is published with it is not', async () => {
    const peer = await openPeer();
    await join(peer, 'points');
    const oversized = orderPlaced();
    const tooLarge = { ...oversized, body: oversized.body.padEnd(MAX_EVENT_BYTES + 1) };
    const forNobody = stepFailed();
    const good = [orderPlaced(), orderPlaced()];
    const rejected = await peer.bus.publish([tooLarge, ...good.slice(0, 1), forNobody, ...good.slice(1)]);
    const codes = new Map(rejected.map(({ id, error }) => [id, error.code]));
    expect(codes).toEqual(
      new Map([
        [tooLarge.id, 'oversized'],
        [forNobody.id, 'unroutable'],
      ]),
    );
    await toHaveHadEffect('points', good);
  });

  onFixture('an event that comes three times at once has one effect; asked again, its answer is repeated', async () => {
    const peer = await openPeer();
    await join(peer, 'points');
    const event = orderPlaced();
    await Promise.all([1, 2, 3].map(() => publish(peer, [event])));
    await toHaveHadEffect('points', [event]);
    const answered = await eventually(async () => (await answers('points')).length, { what: 'it is answered' });

    // Others may still be on their way: one more makes one more answer, sooner or later.
    await publish(peer, [event]);
    await eventually(async () => (await answers('points')).length > answered, {
      what: 'the answer is repeated',
      ...SLOW,
    });
    const given = await answers('points');
    expect(
      new Set(given.map(({ event_id, type, data, time }) => JSON.stringify([event_id, type, data, time]))).size,
    ).toBe(1);
    expect(given[0]?.subject).toBe(subjectOf(event));
    expect(await effects('points')).toEqual([event.id]);
  });

  // As it is when a question was asked again while its broker, or its group, was away.
  onFixture('an event may stand several times in what is published, and in what waits for a group', async () => {
    const peer = await openPeer();
    const [twice, once, later] = [orderPlaced(), orderPlaced(), orderPlaced()];
    expect(await peer.bus.publish([twice, once, twice])).toEqual([]);
    await publish(peer, [twice]);
    await join(peer, 'points');
    await toHaveHadEffect('points', [twice, once]);
    await publish(peer, [later]);
    await toHaveHadEffect('points', [twice, once, later]);
  });

  onFixture('what cannot be read is dead at once, with a reason, and holds up nobody', async () => {
    const peer = await openPeer();
    const before = Array.from({ length: 5 }, () => orderPlaced());
    const after = Array.from({ length: 5 }, () => orderPlaced());
    await publish(peer, before);
    const { released, release } = latch();
    const member = await join(peer, 'points', { prepare: () => released });
    const poison = unreadable().filter(({ body }) => fixture.anyBytes || isUtf8(body));
    for (const { body } of poison) await broker.inject(topology, schemaOf('points'), 'order.placed', body);
    await publish(peer, after);
    release();

    await toHaveHadEffect('points', [...before, ...after]);
    const dead = await eventually(
      async () => {
        const rows = await failed(member);
        return rows.length >= poison.length && rows;
      },
      { what: 'all poison is dead', ...SLOW },
    );
    const reasons = new Map(
      dead.map(({ body, status, error }) => [Buffer.from(body ?? []).toString('base64'), `${status}: ${error}`]),
    );
    // The first 64 KiB are stored.
    for (const { body, reason } of poison)
      expect(reasons.get(body.subarray(0, 65_536).toString('base64'))).toMatch(reason);
    expect(dead).toHaveLength(poison.length);
    // The order hears of those that say which one they are about.
    const about = poison.flatMap(({ subject }) => subject ?? []);
    const reported = (await answers('points')).filter(({ type }) => type === 'step.failed');
    expect(reported.map(({ subject }) => subject).sort()).toEqual(about.sort());
  });

  onFixture('closing a member ends the handlers that run, and leaves the rest for later, undone', async () => {
    const peer = await openPeer();
    const { released, release } = latch();
    const handling: string[] = [];
    const member = await join(peer, 'points', {
      prepare: ({ id }) => {
        handling.push(id);
        return released;
      },
    });
    const events = Array.from({ length: 200 }, () => orderPlaced());
    await publish(peer, events);
    await eventually(() => handling.length >= 10, { what: 'some are being handled' });
    let closed = false;
    const closing = member.close().then(() => {
      closed = true;
    });
    expect(closed).toBe(false);
    release();
    await closing;
    expect(await effects('points')).toEqual(handling.sort());

    const next = await join(peer, 'points');
    await toHaveHadEffect('points', events);
    // What the first one did is not delivered again.
    expect(next.outcomes).toEqual(events.slice(handling.length).map(() => 'done'));
  });

  onFixture('closing the bus waits for what is being published', async () => {
    const peer = await openPeer();
    const events = Array.from({ length: 200 }, () => orderPlaced());
    const publishing = peer.bus.publish(events);
    await peer.bus.close();
    const rejected = new Set((await publishing).map(({ id }) => id));
    expect(rejected).toEqual(new Set());
    await join(await openPeer(), 'points');
    await toHaveHadEffect('points', events);
  });

  onFixture('ids are the same in any case', async () => {
    const peer = await openPeer();
    await join(peer, 'points');
    const event = orderPlaced();
    const shouting = event.body.replaceAll(event.id, event.id.toUpperCase());
    await broker.inject(topology, schemaOf('points'), 'order.placed', Buffer.from(shouting));
    await publish(peer, [event]);
    await toHaveHadEffect('points', [event]);
  });

  /** What waits in the group's outbox. */
  const answers = (group: string) =>
    databases.database.query<{ event_id: string; type: string; subject: string; time: Date; data: string }>(
      `SELECT event_id, type, subject, time, data FROM ${schemaOf(group)}.outbox ORDER BY position`,
    );
});

function event<T extends EventType>(type: T, orderId: string, data: EventData<T>): OutgoingEvent {
  const id = uuidv7();
  const envelope = {
    specversion: '1.0',
    id,
    source: '/services/order',
    type,
    subject: orderId,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    data,
  };
  return { id, type, body: JSON.stringify(envelope) };
}

function orderPlaced(): OutgoingEvent {
  const orderId = uuidv7();
  return event('order.placed', orderId, { orderId, userId: 'alice', currency: 'GBP', total: 5_997, itemCount: 3 });
}

function pointsAwarded(): OutgoingEvent {
  const orderId = uuidv7();
  return event('points.awarded', orderId, { orderId, userId: 'alice', points: 59 });
}

function stepFailed(): OutgoingEvent {
  const orderId = uuidv7();
  return event('step.failed', orderId, { orderId, step: 'points', eventId: uuidv7(), error: 'no reason' });
}

const subjectOf = ({ body }: OutgoingEvent) => (JSON.parse(body) as { subject: string }).subject;

/** Bodies that are no event of this system, why they are not, and the order that they are about, where they say. */
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

/** It is not even looked into. */
function tooLarge() {
  const { body } = orderPlaced();
  return { body: Buffer.from(body.padEnd(1_000_000)), reason: /dead: unreadable: 1000000 bytes, allowed 65536/ };
}

function notForPoints() {
  const awarded = pointsAwarded();
  return { body: Buffer.from(awarded.body), subject: subjectOf(awarded) };
}
