// Outbox, relay, inbox and watchdog without a broker: publishing fails, a process dies between two durable steps, a
// consumer makes no progress. bus.test.ts tests them together with the buses.
import { randomUUID } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import type { Subscription } from '../../infra/bus/port.ts';
import type { Database } from '../../infra/database/port.ts';
import { InboxStore, MAX_UNREADABLE } from '../../infra/messaging/inbox-store.ts';
import { type Channel, defineStatement, Outbox, type OutboxRow } from '../../infra/messaging/outbox.ts';
import { Relay, type Unpublished } from '../../infra/messaging/relay.ts';
import { Watchdog } from '../../infra/messaging/watchdog.ts';
import type { Health } from '../../infra/runtime/health.ts';
import { deferred } from '../../infra/runtime/promises.ts';
import { type BusProcess, type Databases, log, openDatabases } from '../setup/bus-fixtures.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { createTables, type Group, GroupConsumer, type GroupConsumerOptions } from '../setup/group-consumer.ts';
import { eventually } from '../setup/wait.ts';

const { databaseUrl } = inject('servers');

let databases: Databases;
let group: Group;
beforeAll(async () => {
  databases = await openDatabases(databaseUrl);
});
afterAll(() => databases?.close());
beforeEach(async () => {
  group = { name: 'points', schema: `m_${randomUUID().replaceAll('-', '')}` };
  await createTables(databases.database, group);
});

describe('the relay', () => {
  /** A transport: returns the rows that it did not take over. */
  type Publish = (rows: readonly OutboxRow[]) => Promise<Unpublished[]>;

  function startRelay(
    publish: Publish,
    { channel = 'bus' as Channel, leaseMs = 60_000, pollMs = 50, database = databases.database } = {},
  ) {
    const outbox = new Outbox(group.schema);
    const relay = new Relay({ database, schema: group.schema, channel, publish, leaseMs, pollMs, log });
    outbox.connect(channel, relay);
    relay.start();
    cleanUps.push(() => relay.stop());
    return { relay, outbox };
  }

  /** Takes over every row. */
  function taking() {
    const taken: OutboxRow[] = [];
    const publish: Publish = async (rows) => {
      taken.push(...rows);
      return [];
    };
    return { taken, publish };
  }

  /** Writes events in a transaction; returns their ids. */
  async function write(outbox: Outbox, count: number, channel: Channel = 'bus'): Promise<string[]> {
    const ids = Array.from({ length: count }, () => uuidv7());
    await databases.database.transaction((tx) => outbox.write(tx, { ...EVENTS, channel }, ids));
    return ids;
  }
  const EVENTS = defineStatement({
    events: `SELECT id AS event_id, 'points.awarded' AS type, 'subject' AS subject, now() AS time, '{}' AS data
      FROM unnest($1::uuid[]) AS id`,
    params: (ids: readonly string[]) => [ids],
  });

  const rows = () =>
    databases.database.query<{ event_id: string; failures: number; error: string | null; claimed: boolean }>(
      `SELECT event_id, failures, error, claimed_until > now() AS claimed FROM ${group.schema}.outbox ORDER BY position`,
    );
  const isEmpty = () => eventually(async () => (await rows()).length === 0, { what: 'the outbox is empty' });
  const idsOf = (taken: readonly OutboxRow[]) => taken.map(({ event_id }) => event_id);

  test('publishes rows in the order they were written, and deletes them once they are confirmed', async () => {
    const confirmed = deferred();
    const { taken, publish } = taking();
    const { outbox } = startRelay(async (batch) => {
      await confirmed.promise;
      return publish(batch);
    });
    const ids = await write(outbox, 20);
    await write(outbox, 0);
    expect(await rows()).toHaveLength(20);
    confirmed.resolve();
    await isEmpty();
    expect(idsOf(taken)).toEqual(ids);
  });

  test('while rows come steadily, gathers them between two publishes', async () => {
    const publishedAt: number[] = [];
    const { taken, publish } = taking();
    const { relay } = startRelay((batch) => {
      publishedAt.push(performance.now());
      if (publishedAt.length === 1) relay.enqueue([{ ...row, position: -21 }]);
      return publish(batch);
    });
    const row = { event_id: uuidv7(), type: 'points.awarded', subject: 's', time: new Date(), data: '{}', failures: 0 };
    relay.enqueue(Array.from({ length: 20 }, (_, index) => ({ ...row, position: -1 - index })));
    await eventually(() => taken.length === 21, { what: 'all rows are published' });
    const [first = 0, second = 0] = publishedAt;
    expect(second - first).toBeGreaterThan(20);
  });

  test('never publishes an event that was rolled back', async () => {
    const { taken, publish } = taking();
    const { outbox } = startRelay(publish);
    const undone = databases.database.transaction(async (tx) => {
      await outbox.write(tx, EVENTS, [uuidv7()]);
      throw new Error('rolled back');
    });
    await expect(undone).rejects.toThrow('rolled back');
    const ids = await write(outbox, 1);
    await isEmpty();
    expect(idsOf(taken)).toEqual(ids);
  });

  test('finds rows that were written while no relay ran', async () => {
    const ids = await write(new Outbox(group.schema), 1_200);
    const { taken, publish } = taking();
    startRelay(publish);
    await isEmpty();
    expect(idsOf(taken)).toEqual(ids);
  });

  test('publishes the same events again if a process dies before they are confirmed', async () => {
    const died = deferred();
    const seen: OutboxRow[] = [];
    const { outbox } = startRelay(
      async (batch) => {
        seen.push(...batch);
        await died.promise;
        return [];
      },
      { leaseMs: 300 },
    );
    cleanUps.push(died.resolve);
    await write(outbox, 3);
    await eventually(() => seen.length > 0, { what: 'the rows are being published' });
    const { taken, publish } = taking();
    startRelay(publish);
    await eventually(() => taken.length >= 3, { what: 'another process publishes the rows' });
    const same = ({ event_id, time, data }: OutboxRow) => ({ event_id, time, data });
    expect(taken.map(same)).toEqual(seen.map(same));
  });

  test('a rejected event waits by itself; the others in its batch and after it are published', async () => {
    const { taken, publish } = taking();
    let bad: string | undefined;
    const { outbox } = startRelay(async (batch) => {
      await publish(batch.filter(({ event_id }) => event_id !== bad));
      return batch
        .filter(({ event_id }) => event_id === bad)
        .map((row) => ({ row, error: 'invalid event', transportDown: false }));
    });
    const ids = Array.from({ length: 5 }, () => uuidv7());
    bad = ids[2];
    await databases.database.transaction((tx) => outbox.write(tx, EVENTS, ids));
    const later = await write(outbox, 5);
    const good = [...ids.filter((id) => id !== bad), ...later];
    await eventually(() => taken.length >= good.length, { what: 'the others are published' });
    expect(idsOf(taken)).toEqual(good);
    const left = await eventually(
      async () => {
        const now = await rows();
        return now.length === 1 && now[0]?.failures === 1 && now;
      },
      { what: 'only the rejected row is left' },
    );
    expect(left).toMatchObject([{ event_id: bad, error: 'invalid event', claimed: true }]);
    bad = undefined;
    await isEmpty();
  });

  test('while the transport of one channel is down, its rows wait and the other channel is published', async () => {
    let down = true;
    let attempts = 0;
    const bus = taking();
    const user = taking();
    const { outbox } = startRelay(async (batch) => {
      attempts++;
      if (!down) return bus.publish(batch);
      return batch.map((row) => ({ row, error: 'no broker', transportDown: true }));
    });
    const other = startRelay(user.publish, { channel: 'user' });
    const ids = await write(outbox, 700);
    const notes = await write(other.outbox, 3, 'user');
    await eventually(() => attempts >= 2, { what: 'publishing is retried' });
    await eventually(() => user.taken.length >= 3, { what: 'the other channel is published' });
    expect(idsOf(user.taken)).toEqual(notes);
    expect(bus.taken).toEqual([]);
    // The pauses between attempts grow.
    expect(attempts).toBeLessThan(20);
    down = false;
    await isEmpty();
    expect(idsOf(bus.taken).sort()).toEqual(ids);
  });

  test('polls again if it is woken during a poll', async () => {
    const [polled, released] = [deferred(), deferred()];
    const { taken, publish } = taking();
    // The first result is held back, so it does not contain the rows written meanwhile.
    const database: Database = {
      ...databases.database,
      query: async <Row extends object>(text: string, params?: readonly unknown[]) => {
        const found = await databases.database.query<Row>(text, params);
        polled.resolve();
        await released.promise;
        return found;
      },
    };
    const { relay } = startRelay(publish, { pollMs: 600_000, database });
    await polled.promise;
    const ids = await write(new Outbox(group.schema), 3);
    relay.wake();
    released.resolve();
    await eventually(() => taken.length >= 3, { what: 'the rows are published before the next poll' });
    expect(idsOf(taken)).toEqual(ids);
  });

  test('retries a poll that failed, however long its poll interval', async () => {
    const { taken, publish } = taking();
    let polls = 0;
    const database: Database = {
      ...databases.database,
      query: async <Row extends object>(text: string, params?: readonly unknown[]) => {
        if (++polls === 1) throw new Error('no poll');
        return databases.database.query<Row>(text, params);
      },
    };
    const ids = await write(new Outbox(group.schema), 3);
    startRelay(publish, { pollMs: 600_000, database });
    await eventually(() => taken.length >= 3, { what: 'the rows are published before the next poll' });
    expect(idsOf(taken)).toEqual(ids);
  });

  test('two relays share an outbox and publish no row twice', async () => {
    const written = await write(new Outbox(group.schema), 2_000);
    const [one, other] = [taking(), taking()];
    const { outbox } = startRelay(one.publish);
    startRelay(other.publish);
    const handed = await write(outbox, 500);
    await isEmpty();
    expect([...idsOf(one.taken), ...idsOf(other.taken)].sort()).toEqual([...written, ...handed].sort());
  });

  test('releases the rows that it has not published as soon as it stops', async () => {
    const underWay = deferred();
    const first = taking();
    const { relay, outbox } = startRelay(async (batch) => {
      await underWay.promise;
      return first.publish(batch);
    });
    const one = await write(outbox, 1);
    await eventually(async () => (await rows())[0]?.claimed, { what: 'the first row is being published' });
    const rest = await write(outbox, 10);
    const stopping = relay.stop();
    underWay.resolve();
    await stopping;
    expect(idsOf(first.taken).slice(0, 1)).toEqual(one);
    expect((await rows()).filter(({ claimed }) => claimed)).toEqual([]);

    const next = taking();
    startRelay(next.publish);
    await isEmpty();
    expect([...idsOf(first.taken), ...idsOf(next.taken)]).toEqual([...one, ...rest]);
  });
});

describe('the inbox', () => {
  const topology = { prefix: 'none', groups: { points: ['order.placed'] } };

  /** A member of a group. No bus delivers to it: tests call its inbox or write its rows. */
  async function join(options: GroupConsumerOptions = {}): Promise<GroupConsumer> {
    const idle: Subscription = {
      health: (): Health => ({ status: 'up' }),
      backlog: async () => 0,
      rebuild: async () => {},
      close: async () => {},
    };
    const peer = { bus: { subscribe: async () => idle }, database: databases.database } as unknown as BusProcess;
    const member = await GroupConsumer.join(peer, topology, group, options);
    cleanUps.push(() => member.close());
    return member;
  }

  const body = (id: string) => {
    const orderId = uuidv7();
    return Buffer.from(
      JSON.stringify({
        specversion: '1.0',
        id,
        source: '/services/order',
        type: 'order.placed',
        subject: orderId,
        time: new Date().toISOString(),
        datacontenttype: 'application/json',
        data: { orderId, userId: 'alice', currency: 'GBP', total: 1, itemCount: 1 },
      }),
    );
  };

  const status = async (id: string) => {
    const [row] = await databases.database.query<{ status: string; attempts: number; error: string | null }>(
      `SELECT status, attempts, error FROM ${group.schema}.inbox WHERE message_id = $1`,
      [id],
    );
    return row;
  };

  /** A row of a process that died during its nth attempt. */
  async function unfinished(id: string, attempts: number): Promise<void> {
    await databases.database.execute(
      `INSERT INTO ${group.schema}.inbox (message_id, type, status, body, attempts, claimed_until)
       VALUES ($1, 'order.placed', 'pending', decode($2, 'base64'), $3, now() - interval '1 s')`,
      [id, body(id).toString('base64'), attempts],
    );
  }

  test('a message whose process died in its last attempt is dead; its neighbours are not charged an attempt', async () => {
    const [killer, victim, fresh] = [uuidv7(), uuidv7(), uuidv7()];
    await unfinished(killer, 3);
    await unfinished(victim, 1);
    const handled: string[] = [];
    const member = await join({ attempts: 3, prepare: async ({ id }) => void handled.push(id) });
    await member.inbox.enqueue([{ body: body(fresh) }]);
    await eventually(async () => (await status(killer))?.status === 'dead', {
      what: 'the message that kills the process is dead',
    });
    expect(await status(killer)).toMatchObject({ error: 'the process ended during the last of 3 attempts' });
    await eventually(async () => (await status(victim))?.status === 'done', { what: 'its neighbour is done' });
    expect(await status(victim)).toMatchObject({ attempts: 2 });
    await eventually(async () => (await status(fresh))?.status === 'done', { what: 'the new message is done' });
    expect(await status(fresh)).toMatchObject({ attempts: 1 });
    expect(handled).not.toContain(killer);
  });

  test('isolated messages are processed one by one, so only the one that ends its process is dead', async () => {
    const [killer, ...others] = Array.from({ length: 8 }, () => uuidv7()) as [string, ...string[]];
    let running = 0;
    let most = 0;
    const [begun, released] = [deferred(), deferred()];
    const doomed = await join({
      attempts: 1,
      leaseMs: 200,
      prepare: async ({ id }) => {
        running++;
        most = Math.max(most, running);
        if (id === killer) {
          begun.resolve();
          await released.promise; // as if the process ended
        }
        running--;
      },
    });
    cleanUps.push(released.resolve);
    const known = uuidv7();
    await doomed.inbox.process([{ body: body(known) }]);
    const unreadable = Buffer.from('{"id":');
    await doomed.inbox.isolate(
      [...others, killer, known].map((id) => ({ body: body(id) })).concat({ body: unreadable }),
    );
    await begun.promise;
    doomed.crash();

    await join({ attempts: 1 });
    await eventually(async () => (await status(killer))?.status === 'dead', { what: 'the killer is dead' });
    expect(await status(killer)).toMatchObject({ error: 'the process ended during the only attempt' });
    for (const id of others) {
      await eventually(async () => (await status(id))?.status === 'done', { what: 'the others are done' });
      expect(await status(id)).toMatchObject({ attempts: 1 });
    }
    expect(await effects()).toEqual([known, ...others].sort().map((event_id) => ({ event_id })));
    const rows = await databases.database.query<{ count: number }>(
      `SELECT count(*)::integer FROM ${group.schema}.inbox WHERE status = 'dead' AND unreadable`,
    );
    expect(rows).toEqual([{ count: 1 }]);
    expect(most, 'messages at a time').toBe(1);
  });

  test('a message that a live process holds beyond its lease is charged no further attempt and is not dead', async () => {
    const [slow, killer] = [uuidv7(), uuidv7()];
    const released = deferred();
    const member = await join({ attempts: 1, leaseMs: 100, prepare: () => released.promise });
    cleanUps.push(released.resolve);
    await member.inbox.enqueue([{ body: body(slow) }]);
    const expired = () =>
      databases.database.query(
        `SELECT FROM ${group.schema}.inbox WHERE message_id = $1 AND claimed_until < now() - interval '1 ms'`,
        [slow],
      );
    await eventually(async () => (await expired()).length === 1, { what: 'the lease has expired' });
    // Due after the slow one, so it is claimed only once the slow one was passed over.
    await unfinished(killer, 1);
    await eventually(async () => (await status(killer))?.status === 'dead', { what: 'unfinished rows are claimed' });
    expect(await status(slow)).toMatchObject({ status: 'pending', attempts: 1 });
    released.resolve();
    await eventually(async () => (await status(slow))?.status === 'done', { what: 'the slow message is done' });
    expect(await status(slow)).toMatchObject({ attempts: 1, error: null });
    expect(await effects()).toEqual([{ event_id: slow }]);
  });

  const effects = () =>
    databases.database.query<{ event_id: string }>(`SELECT event_id FROM ${group.schema}.effects ORDER BY event_id`);

  test('process() resolves only once the effect is committed', async () => {
    const id = uuidv7();
    const [begun, released] = [deferred(), deferred()];
    const member = await join({
      prepare: () => {
        begun.resolve();
        return released.promise;
      },
    });
    let isResolved = false;
    const processing = member.inbox.process([{ body: body(id) }]).then(() => {
      isResolved = true;
    });
    await begun.promise;
    expect(await effects()).toEqual([]);
    expect(isResolved).toBe(false);
    released.resolve();
    await processing;
    expect(await effects()).toEqual([{ event_id: id }]);
  });

  test('the last progress is undefined until an outcome is recorded', async () => {
    const member = await join();
    expect(member.inbox.lastProgress).toBeUndefined();
    const before = performance.now();
    await member.inbox.process([{ body: body(uuidv7()) }]);
    expect(member.inbox.lastProgress).toBeGreaterThan(before);
  });

  test('a message that is delivered again has no second effect', async () => {
    const id = uuidv7();
    const member = await join();
    const message = { body: body(id) };
    await member.inbox.process([message, message]);
    await member.inbox.process([message]);
    await member.inbox.enqueue([message]);
    await eventually(() => member.outcomes.length === 4, { what: 'all outcomes are recorded' });
    expect(await effects()).toEqual([{ event_id: id }]);
    expect(member.outcomes.toSorted()).toEqual(['done', 'duplicate', 'duplicate', 'duplicate']);
  });

  test('deletes messages that were done long ago, and keeps failed ones', async () => {
    const [old, recent, dead] = [uuidv7(), uuidv7(), uuidv7()];
    const member = await join({
      attempts: 1,
      prepare: async ({ id }) => {
        if (id === dead) throw new Error('no luck');
      },
    });
    await member.inbox.process([old, recent, dead].map((id) => ({ body: body(id) })));
    await databases.database.execute(
      `UPDATE ${group.schema}.inbox SET received_at = now() - interval '8 days' WHERE message_id = ANY($1::uuid[])`,
      [[old, dead]],
    );
    await join(); // prunes when it starts
    await eventually(async () => !(await status(old)), { what: 'the old message is deleted' });
    expect([(await status(recent))?.status, (await status(dead))?.status]).toEqual(['done', 'dead']);
  });

  test('processes rows that exceeded its capacity as soon as it has capacity again, without a poll', async () => {
    const released = deferred();
    const member = await join({ pollMs: 600_000, prefetch: 4, prepare: () => released.promise });
    const fill = () => member.inbox.enqueue(Array.from({ length: 4 }, () => ({ body: body(uuidv7()) })));
    await fill();
    await eventually(async () => (await member.inbox.backlog()) === 4, { what: 'the capacity is used up' });
    const id = uuidv7();
    const row = { messageId: id, type: 'order.placed', subject: uuidv7(), body: body(id) };
    const store = new InboxStore(group.schema);
    await store.add(databases.database, [row], 0);
    member.inbox.wake();
    expect(await store.countDue(databases.database)).toBe(1);
    released.resolve();
    await eventually(async () => (await status(id))?.status === 'done', { what: 'the message is done' });
  });

  describe('a reply that cannot be resent', () => {
    const reply = async (id: string) => {
      const [row] = await databases.database.query<Reply>(
        `SELECT status, attempts, error, reply_attempts, reply_error, reply_requested, claimed_until
         FROM ${group.schema}.inbox WHERE message_id = $1`,
        [id],
      );
      return row;
    };
    interface Reply {
      readonly status: string;
      readonly reply_attempts: number;
      readonly reply_error: string | null;
      readonly reply_requested: boolean;
      readonly claimed_until: Date | null;
    }
    const replies = async () => (await databases.database.query(`SELECT FROM ${group.schema}.outbox`)).length;
    const deadReplies = (member: GroupConsumer) => member.outcomes.filter((outcome) => outcome === 'reply-dead');

    /** A member whose replies fail `state.left` times: all replies, or those about `state.bad`. */
    async function joinMute() {
      const state = { left: Number.POSITIVE_INFINITY, bad: undefined as string | undefined, calls: 0 };
      const member = await join({
        resendReplies: (orderIds) => {
          state.calls++;
          if (state.left > 0 && (state.bad === undefined || orderIds.includes(state.bad))) {
            state.left--;
            throw new TypeError('no reply');
          }
        },
      });
      return { state, member };
    }

    // Not on PGlite, which has one session: the transaction that waits here would block all others.
    test.skipIf(!databaseUrl)(
      'is charged no further attempt while a live process holds it beyond its lease',
      async () => {
        const released = deferred();
        cleanUps.push(released.resolve);
        const member = await join({ attempts: 1, leaseMs: 100, resendReplies: () => released.promise });
        const [id, killer] = [uuidv7(), uuidv7()];
        const message = { body: body(id) };
        await member.inbox.process([message]);
        await member.inbox.enqueue([message]);
        const expired = () =>
          databases.database.query(
            `SELECT FROM ${group.schema}.inbox WHERE message_id = $1 AND claimed_until < now() - interval '1 ms'`,
            [id],
          );
        await eventually(async () => (await expired()).length === 1, { what: 'the lease has expired' });
        await unfinished(killer, 1);
        await eventually(async () => (await status(killer))?.status === 'dead', {
          what: 'unfinished rows are claimed',
        });
        expect(await reply(id)).toMatchObject({ status: 'done', reply_attempts: 1, reply_requested: true });
        released.resolve();
        await eventually(() => member.outcomes.includes('duplicate'), { what: 'the reply is resent' });
        expect(deadReplies(member)).toEqual([]);
      },
    );

    test('is dead after its attempts while the message stays done; another request starts anew', async () => {
      const { state, member } = await joinMute();
      const id = uuidv7();
      const message = { body: body(id) };
      await member.inbox.process([message]);
      expect(await replies()).toBe(1);
      await member.inbox.enqueue([message]);
      await eventually(() => deadReplies(member).length === 1, { what: 'the reply is dead' });
      expect(member.outcomes).toEqual(['done', 'reply-retrying', 'reply-retrying', 'reply-dead']);
      const mute = { reply_attempts: 3, reply_error: 'no reply', reply_requested: false, claimed_until: null };
      expect(await reply(id)).toEqual({ status: 'done', attempts: 1, error: null, ...mute });
      expect(state.calls).toBe(3);

      state.left = 0;
      await member.inbox.enqueue([message]);
      await eventually(async () => (await replies()) === 2, { what: 'the reply is resent' });
      const sent = { reply_attempts: 0, reply_error: null, reply_requested: false, claimed_until: null };
      expect(await reply(id)).toEqual({ status: 'done', attempts: 1, error: null, ...sent });
    });

    test('in the transaction of an arrival is resent by the row, and delays no new message of the batch', async () => {
      const { state, member } = await joinMute();
      const [id, fresh] = [uuidv7(), uuidv7()];
      const message = { body: body(id) };
      await member.inbox.process([message]);
      await member.inbox.process([message, { body: body(fresh) }]);
      expect((await status(fresh))?.status).toBe('done');
      expect(member.outcomes.slice(0, 3).toSorted()).toEqual(['done', 'done', 'reply-retrying']);
      await eventually(() => deadReplies(member).length === 1, { what: 'the reply is dead' });
      expect(await reply(id)).toMatchObject({ status: 'done', reply_attempts: 3, reply_requested: false });

      state.left = 1;
      await member.inbox.process([message]);
      await eventually(() => member.outcomes.includes('duplicate'), { what: 'the row resends it' });
      expect(await reply(id)).toMatchObject({ status: 'done', reply_error: null, reply_requested: false });
    });

    test('does not prevent the other replies of its batch', async () => {
      const { state, member } = await joinMute();
      const messages = [uuidv7(), uuidv7(), uuidv7()].map((id) => ({ id, body: body(id) }));
      await member.inbox.process(messages);
      state.bad = (JSON.parse(String(messages[1]?.body)) as { subject: string }).subject;
      await member.inbox.enqueue(messages);
      await eventually(() => deadReplies(member).length === 1, { what: 'the failing reply is dead' });
      await eventually(async () => (await replies()) === 5, { what: 'the other replies are resent' });
      const requested = await Promise.all(messages.map(({ id }) => reply(id)));
      expect(requested.map((row) => row?.reply_error)).toEqual([null, 'no reply', null]);
    });

    test('leaves a dead message as it is, with its error and its attempts', async () => {
      const id = uuidv7();
      const member = await join({ attempts: 2, prepare: () => Promise.reject(new Error('no luck')) });
      const message = { body: body(id) };
      await member.inbox.process([message]);
      await eventually(async () => (await status(id))?.status === 'dead', { what: 'the message is dead' });
      await databases.database.script(`
        CREATE FUNCTION ${group.schema}.mute() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN RAISE EXCEPTION 'no reply'; END $$;
        CREATE TRIGGER mute BEFORE INSERT ON ${group.schema}.outbox EXECUTE FUNCTION ${group.schema}.mute()`);
      await member.inbox.enqueue([message]);
      await eventually(() => deadReplies(member).length === 1, { what: 'the report is dead' });
      const dead = { status: 'dead', attempts: 2, error: 'no luck' };
      expect(await reply(id)).toMatchObject({
        ...dead,
        reply_attempts: 2,
        reply_error: 'no reply',
        reply_requested: false,
      });
    });

    test('is dead if the process died in the last of its attempts', async () => {
      const id = uuidv7();
      await databases.database.execute(
        `INSERT INTO ${group.schema}.inbox (message_id, type, status, attempts, reply_requested, reply_attempts, claimed_until)
         VALUES ($1, 'order.placed', 'done', 1, true, 3, now() - interval '1 s')`,
        [id],
      );
      const { state, member } = await joinMute();
      await eventually(() => deadReplies(member).length === 1, { what: 'the reply is dead' });
      expect(await reply(id)).toMatchObject({
        status: 'done',
        attempts: 1,
        reply_requested: false,
        reply_error: 'the process ended during the last of 3 attempts',
      });
      expect(state.calls).toBe(0);
    });
  });

  test('a dead message that arrives again is reported again by the same event', async () => {
    const id = uuidv7();
    const member = await join({ attempts: 1, prepare: () => Promise.reject(new Error('no luck')) });
    const message = { body: body(id) };
    await member.inbox.process([message]);
    await member.inbox.process([message]);
    const reports = () =>
      databases.database.query<{ event_id: string; type: string }>(`SELECT event_id, type FROM ${group.schema}.outbox`);
    const [first, second] = await eventually(
      async () => {
        const all = await reports();
        return all.length >= 2 && all;
      },
      { what: 'two reports' },
    );
    expect(first).toEqual(second);
    expect(first).toMatchObject({ type: 'step.failed' });
    expect((await status(id))?.status).toBe('dead');
  });

  /** An unreadable copy of an event: the same id, but no valid subject. */
  const garbled = (id: string) => Buffer.from(JSON.stringify({ id, type: 'order.placed', subject: 'no order' }));

  test('a readable copy of a message replaces an unreadable one', async () => {
    const [arriving, stored] = [uuidv7(), uuidv7()];
    const member = await join();
    await member.inbox.process([{ body: garbled(arriving) }, { body: garbled(stored) }]);
    expect([(await status(arriving))?.status, (await status(stored))?.status]).toEqual(['dead', 'dead']);
    await member.inbox.process([{ body: body(arriving) }]);
    await member.inbox.enqueue([{ body: body(stored) }]);
    await eventually(async () => (await status(stored))?.status === 'done', { what: 'the stored message is done' });
    expect(await status(arriving)).toMatchObject({ status: 'done', error: null });
    expect(member.outcomes.filter((outcome) => outcome === 'done')).toHaveLength(2);
  });

  test('keeps the newest unreadable messages, and every other dead one', async () => {
    const count = async (condition: string) => {
      const sql = `SELECT count(*) AS rows FROM ${group.schema}.inbox WHERE status = 'dead' AND ${condition}`;
      return (await databases.database.query<{ rows: number }>(sql))[0]?.rows;
    };
    const member = await join({ attempts: 1, prepare: () => Promise.reject(new Error('no luck')) });
    const old = uuidv7();
    await member.inbox.process([{ body: body(uuidv7()) }, { body: garbled(old) }]);
    await databases.database.execute(
      `UPDATE ${group.schema}.inbox SET received_at = received_at - interval '1 day' WHERE status = 'dead'`,
    );
    // A type that this service does not handle counts as unreadable, too.
    const foreign = (id: string) => Buffer.from(String(body(id)).replace('"order.placed"', '"order.cancelled"'));
    for (let batch = 0; batch < 11; batch++)
      await member.inbox.process(
        Array.from({ length: 100 }, (_, index) => ({ body: (index % 2 === 0 ? garbled : foreign)(uuidv7()) })),
      );
    // They are counted again after every hundred.
    await eventually(async () => Number(await count('unreadable')) < MAX_UNREADABLE + 100, {
      what: 'the oldest are deleted',
    });
    expect(await count('unreadable')).toBeGreaterThanOrEqual(MAX_UNREADABLE);
    expect(await status(old)).toBeUndefined();
    expect(await count("error = 'no luck'")).toBe(1);
  });

  describe('under a watchdog', () => {
    /** Watches a subscription whose backlog makes no progress. */
    function watch(member: GroupConsumer, stallMs = 90) {
      let rebuilds = 0;
      const state: { backlog: number | undefined } = { backlog: 5 };
      const subscription: Subscription = {
        health: (): Health => ({ status: 'up' }),
        backlog: async () => state.backlog,
        rebuild: async () => void rebuilds++,
        close: async () => {},
      };
      const watchdog = new Watchdog({
        inbox: member.inbox,
        subscription,
        stallMs,
        log,
      });
      watchdog.start();
      cleanUps.push(() => watchdog.stop());
      return { watchdog, state, rebuilds: () => rebuilds };
    }

    test('is rebuilt if its backlog makes no progress, and is unhealthy if that does not help', async () => {
      const { watchdog, state, rebuilds } = watch(await join());
      await eventually(() => rebuilds() === 1, { what: 'the subscription is rebuilt' });
      expect([watchdog.healthy, watchdog.backlog]).toEqual([true, 5]);
      await eventually(() => !watchdog.healthy, { what: 'the watchdog is unhealthy' });
      expect(rebuilds()).toBe(4);
      state.backlog = 0;
      await eventually(() => watchdog.healthy, { what: 'the watchdog is healthy again' });
    });

    test('does not count rows that another process has claimed', async () => {
      await databases.database.execute(
        `INSERT INTO ${group.schema}.inbox (message_id, type, status, claimed_until)
         VALUES ($1, 'order.placed', 'pending', now() + interval '1 minute')`,
        [uuidv7()],
      );
      const { watchdog, state, rebuilds } = watch(await join());
      state.backlog = 0;
      await eventually(() => watchdog.backlog === 0, { what: 'the backlog is known' });
      expect(rebuilds()).toBe(0);
    });

    test('its backlog is unknown while the broker cannot count it, even if it was known before', async () => {
      const { watchdog, state, rebuilds } = watch(await join(), 3_000);
      expect(watchdog.backlog).toBe(null);
      await eventually(() => watchdog.backlog === 5, { what: 'the backlog is known' });
      state.backlog = undefined;
      await eventually(() => watchdog.backlog === null, { what: 'the backlog is unknown' });
      state.backlog = 0;
      await eventually(() => watchdog.backlog === 0, { what: 'the backlog is known again' });
      await watchdog.stop();
      expect([watchdog.backlog, rebuilds()]).toEqual([null, 0]);
    });

    test('is not rebuilt while it makes progress, however large its backlog', async () => {
      const member = await join();
      const { watchdog, rebuilds } = watch(member, 1_000);
      const until = performance.now() + 3_000;
      await eventually(
        async () => {
          await member.inbox.process([{ body: body(uuidv7()) }]);
          return performance.now() > until;
        },
        { what: 'three times the limit has passed' },
      );
      expect(watchdog.backlog).toBeGreaterThanOrEqual(5);
      expect(rebuilds()).toBe(0);
    });
  });
});
