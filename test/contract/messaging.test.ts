// Outbox, relay, inbox and watchdog, apart from any broker: what they do when publishing fails, when a process dies
// between two durable steps, and when nothing moves. Together with the buses they are tested in bus.test.ts.
import { randomUUID } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import type { Subscription } from '../../infra/bus/port.ts';
import type { Database } from '../../infra/database/port.ts';
import { MAX_UNREADABLE } from '../../infra/messaging/inbox-worker.ts';
import { type Channel, type ClaimedRow, Outbox } from '../../infra/messaging/outbox.ts';
import { Relay, type Unpublished } from '../../infra/messaging/relay.ts';
import { Watchdog } from '../../infra/messaging/watchdog.ts';
import type { Health } from '../../infra/runtime/health.ts';
import { deferred } from '../../infra/runtime/promises.ts';
import { type Databases, log, type Peer, pgliteInFolder, postgresAt } from '../setup/bus-fixtures.ts';
import { createTables, type Group, Member, type MemberOptions } from '../setup/member.ts';
import { eventually } from '../setup/wait.ts';

const { databaseUrl } = inject('servers');

let databases: Databases;
let group: Group;
const cleanUps: (() => unknown)[] = [];
beforeAll(async () => {
  databases = databaseUrl ? await postgresAt(databaseUrl) : await pgliteInFolder();
});
afterAll(() => databases?.close());
beforeEach(async () => {
  group = { name: 'points', schema: `m_${randomUUID().replaceAll('-', '')}` };
  await createTables(databases.database, group);
});
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

describe('the relay', () => {
  /** What a transport took over, in its order. */
  type Publish = (rows: readonly ClaimedRow[]) => Promise<Unpublished[]>;

  function startRelay(
    publish: Publish,
    { channel = 'bus' as Channel, leaseMs = 60_000, pollMs = 50, database = databases.database } = {},
  ) {
    const outbox = new Outbox(group.schema);
    const relay = new Relay({ database, outbox, channel, publish, leaseMs, pollMs, log });
    relay.start();
    cleanUps.push(() => relay.stop());
    return { relay, outbox };
  }

  /** Takes everything over. */
  function taking() {
    const taken: ClaimedRow[] = [];
    const publish: Publish = async (rows) => {
      taken.push(...rows);
      return [];
    };
    return { taken, publish };
  }

  /** Writes events in a transaction of their own; answers their ids. */
  async function write(outbox: Outbox, count: number, channel: Channel = 'bus'): Promise<string[]> {
    const ids = Array.from({ length: count }, () => uuidv7());
    await databases.database.transaction((tx) => outbox.write(tx, channel, EVENTS, [ids]));
    return ids;
  }
  const EVENTS = `SELECT id AS event_id, 'points.awarded' AS type, 'subject' AS subject, now() AS time, '{}' AS data
    FROM unnest($1::uuid[]) AS id`;

  const rows = () =>
    databases.database.query<{ event_id: string; failures: number; error: string | null; claimed: boolean }>(
      `SELECT event_id, failures, error, claimed_until > now() AS claimed FROM ${group.schema}.outbox ORDER BY position`,
    );
  const isEmpty = () => eventually(async () => (await rows()).length === 0, { what: 'the outbox is empty' });
  const idsOf = (taken: readonly ClaimedRow[]) => taken.map(({ event_id }) => event_id);

  test('publishes in the order of writing, and deletes only what was confirmed', async () => {
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

  test('never publishes what was rolled back', async () => {
    const { taken, publish } = taking();
    const { outbox } = startRelay(publish);
    const undone = databases.database.transaction(async (tx) => {
      await outbox.write(tx, 'bus', EVENTS, [[uuidv7()]]);
      throw new Error('changed my mind');
    });
    await expect(undone).rejects.toThrow('changed my mind');
    const ids = await write(outbox, 1);
    await isEmpty();
    expect(idsOf(taken)).toEqual(ids);
  });

  test('finds what was written while nobody was there', async () => {
    const ids = await write(new Outbox(group.schema), 1_200);
    const { taken, publish } = taking();
    startRelay(publish);
    await isEmpty();
    expect(idsOf(taken)).toEqual(ids);
  });

  test('publishes again, the same, what a process took along that died before the confirm', async () => {
    const died = deferred();
    const seen: ClaimedRow[] = [];
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
    await eventually(() => seen.length > 0, { what: 'it is being published' });
    const { taken, publish } = taking();
    startRelay(publish);
    await eventually(() => taken.length >= 3, { what: 'another process publishes it' });
    const same = ({ event_id, time, data }: ClaimedRow) => ({ event_id, time, data });
    expect(taken.map(same)).toEqual(seen.map(same));
  });

  test('what is rejected waits by itself; what comes with it and after it goes on', async () => {
    const { taken, publish } = taking();
    let bad: string | undefined;
    const { outbox } = startRelay(async (batch) => {
      await publish(batch.filter(({ event_id }) => event_id !== bad));
      return batch
        .filter(({ event_id }) => event_id === bad)
        .map((row) => ({ row, error: 'too ugly', transportDown: false }));
    });
    const ids = Array.from({ length: 5 }, () => uuidv7());
    bad = ids[2];
    await databases.database.transaction((tx) => outbox.write(tx, 'bus', EVENTS, [ids]));
    const later = await write(outbox, 5);
    const good = [...ids.filter((id) => id !== bad), ...later];
    await eventually(() => taken.length >= good.length, { what: 'the others are published' });
    expect(idsOf(taken)).toEqual(good);
    const left = await eventually(
      async () => {
        const now = await rows();
        return now.length === 1 && now[0]?.failures === 1 && now;
      },
      { what: 'only the bad one is left' },
    );
    expect(left).toMatchObject([{ event_id: bad, error: 'too ugly', claimed: true }]);
    bad = undefined;
    await isEmpty();
  });

  test('while the transport is down everything waits, the other channel goes on; then all of it is published', async () => {
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
    await eventually(() => attempts >= 2, { what: 'it is tried again' });
    await eventually(() => user.taken.length >= 3, { what: 'the other channel' });
    expect(idsOf(user.taken)).toEqual(notes);
    expect(bus.taken).toEqual([]);
    // With pauses that grow, not as fast as it can.
    expect(attempts).toBeLessThan(20);
    down = false;
    await isEmpty();
    expect(idsOf(bus.taken).sort()).toEqual(ids);
  });

  test('a wake-up during a look for rows is followed by another look', async () => {
    const [looked, released] = [deferred(), deferred()];
    const { taken, publish } = taking();
    // The first answer is held back, so that it says nothing of what is written meanwhile.
    const database: Database = {
      ...databases.database,
      query: async <Row extends object>(text: string, params?: readonly unknown[]) => {
        const found = await databases.database.query<Row>(text, params);
        looked.resolve();
        await released.promise;
        return found;
      },
    };
    const { relay } = startRelay(publish, { pollMs: 600_000, database });
    await looked.promise;
    const ids = await write(new Outbox(group.schema), 3);
    relay.wake();
    released.resolve();
    await eventually(() => taken.length >= 3, { what: 'the rows are published before the next poll' });
    expect(idsOf(taken)).toEqual(ids);
  });

  test('a look that fails is made up for, however far the next poll is', async () => {
    const { taken, publish } = taking();
    let looks = 0;
    const database: Database = {
      ...databases.database,
      query: async <Row extends object>(text: string, params?: readonly unknown[]) => {
        if (++looks === 1) throw new Error('no look');
        return databases.database.query<Row>(text, params);
      },
    };
    const ids = await write(new Outbox(group.schema), 3);
    startRelay(publish, { pollMs: 600_000, database });
    await eventually(() => taken.length >= 3, { what: 'the rows are published before the next poll' });
    expect(idsOf(taken)).toEqual(ids);
  });

  test('two of them share an outbox, and publish nothing twice', async () => {
    const written = await write(new Outbox(group.schema), 2_000);
    const [one, other] = [taking(), taking()];
    const { outbox } = startRelay(one.publish);
    startRelay(other.publish);
    const handed = await write(outbox, 500);
    await isEmpty();
    expect([...idsOf(one.taken), ...idsOf(other.taken)].sort()).toEqual([...written, ...handed].sort());
  });

  test('one that stops gives back at once what it has not published', async () => {
    const underWay = deferred();
    const first = taking();
    const { relay, outbox } = startRelay(async (batch) => {
      await underWay.promise;
      return first.publish(batch);
    });
    const one = await write(outbox, 1);
    await eventually(async () => (await rows())[0]?.claimed, { what: 'the first is being published' });
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

  /** A member of a group whose messages are rows, put there by hand. */
  async function join(options: MemberOptions = {}): Promise<Member> {
    const idle: Subscription = {
      health: (): Health => ({ status: 'up' }),
      backlog: async () => 0,
      rebuild: async () => {},
      close: async () => {},
    };
    const peer = { bus: { subscribe: async () => idle }, database: databases.database } as unknown as Peer;
    const member = await Member.join(peer, topology, group, options);
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

  /** As a process left it that died during its nth attempt. */
  async function unfinished(id: string, attempts: number): Promise<void> {
    await databases.database.execute(
      `INSERT INTO ${group.schema}.inbox (message_id, type, status, body, attempts, claimed_until)
       VALUES ($1, 'order.placed', 'pending', decode($2, 'base64'), $3, now() - interval '1 s')`,
      [id, body(id).toString('base64'), attempts],
    );
  }

  test('a message whose process died in each of its attempts is dead, and its neighbours are not charged', async () => {
    const [killer, victim, fresh] = [uuidv7(), uuidv7(), uuidv7()];
    await unfinished(killer, 3);
    await unfinished(victim, 1);
    const handled: string[] = [];
    const member = await join({ attempts: 3, prepare: async ({ id }) => void handled.push(id) });
    await member.inbox.store([{ body: body(fresh) }]);
    await eventually(async () => (await status(killer))?.status === 'dead', { what: 'the killer is dead' });
    expect(await status(killer)).toMatchObject({ error: 'the process ended during each of 3 attempts' });
    await eventually(async () => (await status(victim))?.status === 'done', { what: 'the victim is done' });
    expect(await status(victim)).toMatchObject({ attempts: 2 });
    await eventually(async () => (await status(fresh))?.status === 'done', { what: 'the fresh one is done' });
    expect(await status(fresh)).toMatchObject({ attempts: 1 });
    expect(handled).not.toContain(killer);
  });

  test('a message waits in a live process for longer than its lease: it is neither charged again nor given up', async () => {
    const [slow, killer] = [uuidv7(), uuidv7()];
    const released = deferred();
    const member = await join({ attempts: 1, leaseMs: 100, prepare: () => released.promise });
    cleanUps.push(released.resolve);
    await member.inbox.store([{ body: body(slow) }]);
    const expired = () =>
      databases.database.query(
        `SELECT FROM ${group.schema}.inbox WHERE message_id = $1 AND claimed_until < now() - interval '1 ms'`,
        [slow],
      );
    await eventually(async () => (await expired()).length === 1, { what: 'the lease is over' });
    // Due later than the slow one, so the slow one has been looked at before.
    await unfinished(killer, 1);
    await eventually(async () => (await status(killer))?.status === 'dead', { what: 'unfinished rows are looked for' });
    expect(await status(slow)).toMatchObject({ status: 'pending', attempts: 1 });
    released.resolve();
    await eventually(async () => (await status(slow))?.status === 'done', { what: 'the slow one is done' });
    expect(await status(slow)).toMatchObject({ attempts: 1, error: null });
    expect(await effects()).toEqual([{ event_id: slow }]);
  });

  const effects = () =>
    databases.database.query<{ event_id: string }>(`SELECT event_id FROM ${group.schema}.effects ORDER BY event_id`);

  test('what arrives counts as taken in when its effect is committed, and not before', async () => {
    const id = uuidv7();
    const [begun, released] = [deferred(), deferred()];
    const member = await join({
      prepare: () => {
        begun.resolve();
        return released.promise;
      },
    });
    let takenIn = false;
    const handling = member.inbox.handle([{ body: body(id) }]).then(() => {
      takenIn = true;
    });
    await begun.promise;
    expect(await effects()).toEqual([]);
    expect(takenIn).toBe(false);
    released.resolve();
    await handling;
    expect(await effects()).toEqual([{ event_id: id }]);
  });

  test('progress is unknown until there was some', async () => {
    const member = await join();
    expect(member.inbox.lastProgress).toBeUndefined();
    const before = performance.now();
    await member.inbox.handle([{ body: body(uuidv7()) }]);
    expect(member.inbox.lastProgress).toBeGreaterThan(before);
  });

  test('what is delivered again has no second effect', async () => {
    const id = uuidv7();
    const member = await join();
    const message = { body: body(id) };
    await member.inbox.handle([message, message]);
    await member.inbox.handle([message]);
    await member.inbox.store([message]);
    await eventually(() => member.outcomes.length === 4, { what: 'all are handled' });
    expect(await effects()).toEqual([{ event_id: id }]);
    expect(member.outcomes.toSorted()).toEqual(['done', 'repeated', 'repeated', 'repeated']);
  });

  test('it forgets what was done long ago, and keeps what failed', async () => {
    const [old, recent, dead] = [uuidv7(), uuidv7(), uuidv7()];
    const member = await join({
      attempts: 1,
      prepare: async ({ id }) => {
        if (id === dead) throw new Error('no luck');
      },
    });
    await member.inbox.handle([old, recent, dead].map((id) => ({ body: body(id) })));
    await databases.database.execute(
      `UPDATE ${group.schema}.inbox SET received_at = now() - interval '8 days' WHERE message_id = ANY($1::uuid[])`,
      [[old, dead]],
    );
    expect(await member.inbox.rows.prune(databases.database, 7, 100)).toBe(1);
    expect(await status(old)).toBeUndefined();
    expect([(await status(recent))?.status, (await status(dead))?.status]).toEqual(['done', 'dead']);
  });

  test('what another process wrote while there was no room is handled once there is, without a poll', async () => {
    const released = deferred();
    const member = await join({ pollMs: 600_000, prefetch: 4, prepare: () => released.promise });
    const store = () => member.inbox.store(Array.from({ length: 4 }, () => ({ body: body(uuidv7()) })));
    await store();
    await eventually(() => member.inbox.running === 4, { what: 'there is no room' });
    const id = uuidv7();
    const row = { messageId: id, type: 'order.placed', subject: uuidv7(), body: body(id) };
    await member.inbox.rows.add(databases.database, [row], 0);
    member.inbox.wake();
    expect(await member.inbox.rows.due(databases.database)).toBe(1);
    released.resolve();
    await eventually(async () => (await status(id))?.status === 'done', { what: 'it is done' });
  });

  describe('asked for a reply that cannot be sent again', () => {
    const reply = async (id: string) => {
      const [row] = await databases.database.query<Reply>(
        `SELECT status, attempts, error, reply_attempts, reply_error, asked_again, claimed_until
         FROM ${group.schema}.inbox WHERE message_id = $1`,
        [id],
      );
      return row;
    };
    interface Reply {
      readonly status: string;
      readonly reply_attempts: number;
      readonly reply_error: string | null;
      readonly asked_again: boolean;
      readonly claimed_until: Date | null;
    }
    const replies = async () => (await databases.database.query(`SELECT FROM ${group.schema}.outbox`)).length;
    const givenUp = (member: Member) => member.outcomes.filter((outcome) => outcome === 'reply-dead');

    /** A member whose replies fail `state.left` times: all of them, or those that are for `state.bad`. */
    async function joinMute() {
      const state = { left: Number.POSITIVE_INFINITY, bad: undefined as string | undefined, calls: 0 };
      const member = await join({
        repeat: (orderIds) => {
          state.calls++;
          if (state.left > 0 && (state.bad === undefined || orderIds.includes(state.bad))) {
            state.left--;
            throw new TypeError('no reply');
          }
        },
      });
      return { state, member };
    }

    // Not on PGlite: there is one session, and the transaction that waits here would hold up everything.
    test.skipIf(!databaseUrl)(
      'that waits for longer than its lease is neither charged again nor given up',
      async () => {
        const released = deferred();
        cleanUps.push(released.resolve);
        const member = await join({ attempts: 1, leaseMs: 100, repeat: () => released.promise });
        const [id, killer] = [uuidv7(), uuidv7()];
        const message = { body: body(id) };
        await member.inbox.handle([message]);
        await member.inbox.store([message]);
        const expired = () =>
          databases.database.query(
            `SELECT FROM ${group.schema}.inbox WHERE message_id = $1 AND claimed_until < now() - interval '1 ms'`,
            [id],
          );
        await eventually(async () => (await expired()).length === 1, { what: 'the lease is over' });
        await unfinished(killer, 1);
        await eventually(async () => (await status(killer))?.status === 'dead', {
          what: 'unfinished rows are looked for',
        });
        expect(await reply(id)).toMatchObject({ status: 'done', reply_attempts: 1, asked_again: true });
        released.resolve();
        await eventually(() => member.outcomes.includes('repeated'), { what: 'the reply is sent' });
        expect(givenUp(member)).toEqual([]);
      },
    );

    test('gives up after its attempts, and the message stays done; asked once more it begins anew', async () => {
      const { state, member } = await joinMute();
      const id = uuidv7();
      const message = { body: body(id) };
      await member.inbox.handle([message]);
      expect(await replies()).toBe(1);
      await member.inbox.store([message]);
      await eventually(() => givenUp(member).length === 1, { what: 'the reply is given up' });
      expect(member.outcomes).toEqual(['done', 'reply-retrying', 'reply-retrying', 'reply-dead']);
      const mute = { reply_attempts: 3, reply_error: 'no reply', asked_again: false, claimed_until: null };
      expect(await reply(id)).toEqual({ status: 'done', attempts: 1, error: null, ...mute });
      expect(state.calls).toBe(3);

      state.left = 0;
      await member.inbox.store([message]);
      await eventually(async () => (await replies()) === 2, { what: 'the reply is sent' });
      const sent = { reply_attempts: 0, reply_error: null, asked_again: false, claimed_until: null };
      expect(await reply(id)).toEqual({ status: 'done', attempts: 1, error: null, ...sent });
    });

    test('by an arrival: the row sends it, and fresh messages in the batch are not held up', async () => {
      const { state, member } = await joinMute();
      const [id, fresh] = [uuidv7(), uuidv7()];
      const message = { body: body(id) };
      await member.inbox.handle([message]);
      await member.inbox.handle([message, { body: body(fresh) }]);
      expect((await status(fresh))?.status).toBe('done');
      expect(member.outcomes.slice(0, 3).toSorted()).toEqual(['done', 'done', 'reply-retrying']);
      await eventually(() => givenUp(member).length === 1, { what: 'the reply is given up' });
      expect(await reply(id)).toMatchObject({ status: 'done', reply_attempts: 3, asked_again: false });

      state.left = 1;
      await member.inbox.handle([message]);
      await eventually(() => member.outcomes.includes('repeated'), { what: 'the row sends it' });
      expect(await reply(id)).toMatchObject({ status: 'done', reply_error: null, asked_again: false });
    });

    test('sends the other replies of the batch', async () => {
      const { state, member } = await joinMute();
      const messages = [uuidv7(), uuidv7(), uuidv7()].map((id) => ({ id, body: body(id) }));
      await member.inbox.handle(messages);
      state.bad = (JSON.parse(String(messages[1]?.body)) as { subject: string }).subject;
      await member.inbox.store(messages);
      await eventually(() => givenUp(member).length === 1, { what: 'the bad reply is given up' });
      await eventually(async () => (await replies()) === 5, { what: 'the good ones are sent' });
      const asked = await Promise.all(messages.map(({ id }) => reply(id)));
      expect(asked.map((row) => row?.reply_error)).toEqual([null, 'no reply', null]);
    });

    test('leaves a dead message dead, with its error and its attempts', async () => {
      const id = uuidv7();
      const member = await join({ attempts: 2, prepare: () => Promise.reject(new Error('no luck')) });
      const message = { body: body(id) };
      await member.inbox.handle([message]);
      await eventually(async () => (await status(id))?.status === 'dead', { what: 'it is dead' });
      await databases.database.script(`
        CREATE FUNCTION ${group.schema}.mute() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN RAISE EXCEPTION 'no reply'; END $$;
        CREATE TRIGGER mute BEFORE INSERT ON ${group.schema}.outbox EXECUTE FUNCTION ${group.schema}.mute()`);
      await member.inbox.store([message]);
      await eventually(() => givenUp(member).length === 1, { what: 'the report is given up' });
      const dead = { status: 'dead', attempts: 2, error: 'no luck' };
      expect(await reply(id)).toMatchObject({
        ...dead,
        reply_attempts: 2,
        reply_error: 'no reply',
        asked_again: false,
      });
    });

    test('gives up one that ended the process in each of its attempts', async () => {
      const id = uuidv7();
      await databases.database.execute(
        `INSERT INTO ${group.schema}.inbox (message_id, type, status, attempts, asked_again, reply_attempts, claimed_until)
         VALUES ($1, 'order.placed', 'done', 1, true, 3, now() - interval '1 s')`,
        [id],
      );
      const { state, member } = await joinMute();
      await eventually(() => givenUp(member).length === 1, { what: 'the reply is given up' });
      expect(await reply(id)).toMatchObject({
        status: 'done',
        attempts: 1,
        asked_again: false,
        reply_error: 'the process ended during each of 3 attempts',
      });
      expect(state.calls).toBe(0);
    });
  });

  test('of a dead message that comes again the failure is reported again, as it was', async () => {
    const id = uuidv7();
    const member = await join({ attempts: 1, prepare: () => Promise.reject(new Error('no luck')) });
    const message = { body: body(id) };
    await member.inbox.handle([message]);
    await member.inbox.handle([message]);
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

  /** Stands where the event's own bytes should: the same id, and nobody can read it. */
  const garbled = (id: string) => Buffer.from(JSON.stringify({ id, type: 'order.placed', subject: 'no order' }));

  test('a copy that nobody can read does not take the place of the event', async () => {
    const [arriving, stored] = [uuidv7(), uuidv7()];
    const member = await join();
    await member.inbox.handle([{ body: garbled(arriving) }, { body: garbled(stored) }]);
    expect([(await status(arriving))?.status, (await status(stored))?.status]).toEqual(['dead', 'dead']);
    await member.inbox.handle([{ body: body(arriving) }]);
    await member.inbox.store([{ body: body(stored) }]);
    await eventually(async () => (await status(stored))?.status === 'done', { what: 'the stored one is done' });
    expect(await status(arriving)).toMatchObject({ status: 'done', error: null });
    expect(member.outcomes.filter((outcome) => outcome === 'done')).toHaveLength(2);
  });

  test('of unreadable messages the newest are kept, and every other dead one', async () => {
    const count = async (condition: string) => {
      const sql = `SELECT count(*) AS rows FROM ${group.schema}.inbox WHERE status = 'dead' AND ${condition}`;
      return (await databases.database.query<{ rows: number }>(sql))[0]?.rows;
    };
    const member = await join({ attempts: 1, prepare: () => Promise.reject(new Error('no luck')) });
    const old = uuidv7();
    await member.inbox.handle([{ body: body(uuidv7()) }, { body: garbled(old) }]);
    await databases.database.execute(
      `UPDATE ${group.schema}.inbox SET received_at = received_at - interval '1 day' WHERE status = 'dead'`,
    );
    // Types that are not for this service are no better than bytes that are no event.
    const foreign = (id: string) => Buffer.from(String(body(id)).replace('"order.placed"', '"order.cancelled"'));
    for (let batch = 0; batch < 11; batch++)
      await member.inbox.handle(
        Array.from({ length: 100 }, (_, index) => ({ body: (index % 2 === 0 ? garbled : foreign)(uuidv7()) })),
      );
    // They are counted after every hundred.
    await eventually(async () => Number(await count('unreadable')) < MAX_UNREADABLE + 100, {
      what: 'not all are left',
    });
    expect(await count('unreadable')).toBeGreaterThanOrEqual(MAX_UNREADABLE);
    expect(await status(old)).toBeUndefined();
    expect(await count("error = 'no luck'")).toBe(1);
  });

  describe('watched', () => {
    /** A subscription with a backlog that nobody works on. */
    function watch(member: Member, silenceMs = 90) {
      let rebuilds = 0;
      const state: { backlog: number | undefined } = { backlog: 5 };
      const subscription: Subscription = {
        health: (): Health => ({ status: 'up' }),
        backlog: async () => state.backlog,
        rebuild: async () => void rebuilds++,
        close: async () => {},
      };
      const watchdog = new Watchdog({
        database: databases.database,
        inbox: member.inbox,
        subscription,
        silenceMs,
        log,
      });
      watchdog.start();
      cleanUps.push(() => watchdog.stop());
      return { watchdog, state, rebuilds: () => rebuilds };
    }

    test('a silence with a backlog is ended by rebuilding; where that does not help, it is not healthy', async () => {
      const { watchdog, state, rebuilds } = watch(await join());
      await eventually(() => rebuilds() === 1, { what: 'it is rebuilt' });
      expect([watchdog.healthy, watchdog.backlog]).toEqual([true, 5]);
      await eventually(() => !watchdog.healthy, { what: 'it is not healthy' });
      expect(rebuilds()).toBe(4);
      state.backlog = 0;
      await eventually(() => watchdog.healthy, { what: 'it is healthy again' });
    });

    test('what another process has claimed is no backlog of this one', async () => {
      await databases.database.execute(
        `INSERT INTO ${group.schema}.inbox (message_id, type, status, claimed_until)
         VALUES ($1, 'order.placed', 'pending', now() + interval '1 minute')`,
        [uuidv7()],
      );
      const { watchdog, state, rebuilds } = watch(await join());
      state.backlog = 0;
      await eventually(() => watchdog.backlog === 0, { what: 'it has looked' });
      expect(rebuilds()).toBe(0);
    });

    test('a backlog that the broker does not tell is unknown, whatever was seen before', async () => {
      const { watchdog, state, rebuilds } = watch(await join(), 3_000);
      expect(watchdog.backlog).toBe(null);
      await eventually(() => watchdog.backlog === 5, { what: 'it has looked' });
      state.backlog = undefined;
      await eventually(() => watchdog.backlog === null, { what: 'it is unknown' });
      state.backlog = 0;
      await eventually(() => watchdog.backlog === 0, { what: 'it is known again' });
      await watchdog.stop();
      expect([watchdog.backlog, rebuilds()]).toEqual([null, 0]);
    });

    test('who makes progress is left alone, however long the backlog', async () => {
      const member = await join();
      const { watchdog, rebuilds } = watch(member, 1_000);
      const until = performance.now() + 3_000;
      await eventually(
        async () => {
          await member.inbox.handle([{ body: body(uuidv7()) }]);
          return performance.now() > until;
        },
        { what: 'three times the silence is over' },
      );
      expect(watchdog.backlog).toBeGreaterThanOrEqual(5);
      expect(rebuilds()).toBe(0);
    });
  });
});
