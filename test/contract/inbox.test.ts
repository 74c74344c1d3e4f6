// The inbox without a bus: which messages take effect, are retried, are dead, and are deleted, also if processes die.
// bus.test.ts tests it together with the buses, inbox-replies.test.ts what it does with requests that arrive again.
import { v7 as uuidv7 } from 'uuid';
import { describe, expect, test } from 'vitest';
import { InboxStore, MAX_UNREADABLE } from '../../infra/messaging/inbox-store.ts';
import { deferred } from '../../infra/runtime/promises.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { database, group } from '../setup/group.ts';
import { insertUnfinished, join, status } from '../setup/member.ts';
import { placed } from '../setup/outgoing-events.ts';
import { eventually } from '../setup/wait.ts';

describe('the inbox', () => {
  test('a message whose process died in its last attempt is dead; its neighbours are not charged an attempt', async () => {
    const [killer, victim, fresh] = [uuidv7(), uuidv7(), uuidv7()];
    await insertUnfinished(killer, 3);
    await insertUnfinished(victim, 1);
    const handled: string[] = [];
    const member = await join({ attempts: 3, prepare: async ({ id }) => void handled.push(id) });
    await member.inbox.enqueue([{ body: placed(fresh) }]);
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
    await doomed.inbox.process([{ body: placed(known) }]);
    const unreadable = Buffer.from('{"id":');
    await doomed.inbox.isolate(
      [...others, killer, known].map((id) => ({ body: placed(id) })).concat({ body: unreadable }),
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
    const rows = await database.query<{ count: number }>(
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
    await member.inbox.enqueue([{ body: placed(slow) }]);
    const expired = () =>
      database.query(
        `SELECT FROM ${group.schema}.inbox WHERE message_id = $1 AND claimed_until < now() - interval '1 ms'`,
        [slow],
      );
    await eventually(async () => (await expired()).length === 1, { what: 'the lease has expired' });
    // Due after the slow one, so it is claimed only once the slow one was passed over.
    await insertUnfinished(killer, 1);
    await eventually(async () => (await status(killer))?.status === 'dead', { what: 'unfinished rows are claimed' });
    expect(await status(slow)).toMatchObject({ status: 'pending', attempts: 1 });
    released.resolve();
    await eventually(async () => (await status(slow))?.status === 'done', { what: 'the slow message is done' });
    expect(await status(slow)).toMatchObject({ attempts: 1, error: null });
    expect(await effects()).toEqual([{ event_id: slow }]);
  });

  const effects = () =>
    database.query<{ event_id: string }>(`SELECT event_id FROM ${group.schema}.effects ORDER BY event_id`);

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
    const processing = member.inbox.process([{ body: placed(id) }]).then(() => {
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
    await member.inbox.process([{ body: placed(uuidv7()) }]);
    expect(member.inbox.lastProgress).toBeGreaterThan(before);
  });

  test('a message that is delivered again has no second effect', async () => {
    const id = uuidv7();
    const member = await join();
    const message = { body: placed(id) };
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
    await member.inbox.process([old, recent, dead].map((id) => ({ body: placed(id) })));
    await database.execute(
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
    const fill = () => member.inbox.enqueue(Array.from({ length: 4 }, () => ({ body: placed(uuidv7()) })));
    await fill();
    await eventually(async () => (await member.inbox.backlog()) === 4, { what: 'the capacity is used up' });
    const id = uuidv7();
    const row = { messageId: id, type: 'order.placed', subject: uuidv7(), body: placed(id) };
    const store = new InboxStore(group.schema);
    await store.add(database, [row], 0);
    member.inbox.wake();
    expect(await store.countDue(database)).toBe(1);
    released.resolve();
    await eventually(async () => (await status(id))?.status === 'done', { what: 'the message is done' });
  });

  /** An unreadable copy of an event: the same id, but no valid subject. */
  const garbled = (id: string) => Buffer.from(JSON.stringify({ id, type: 'order.placed', subject: 'no order' }));

  test('a readable copy of a message replaces an unreadable one', async () => {
    const [arriving, stored] = [uuidv7(), uuidv7()];
    const member = await join();
    await member.inbox.process([{ body: garbled(arriving) }, { body: garbled(stored) }]);
    expect([(await status(arriving))?.status, (await status(stored))?.status]).toEqual(['dead', 'dead']);
    await member.inbox.process([{ body: placed(arriving) }]);
    await member.inbox.enqueue([{ body: placed(stored) }]);
    await eventually(async () => (await status(stored))?.status === 'done', { what: 'the stored message is done' });
    expect(await status(arriving)).toMatchObject({ status: 'done', error: null });
    expect(member.outcomes.filter((outcome) => outcome === 'done')).toHaveLength(2);
  });

  test('keeps the newest unreadable messages, and every other dead one', async () => {
    const count = async (condition: string) => {
      const sql = `SELECT count(*) AS rows FROM ${group.schema}.inbox WHERE status = 'dead' AND ${condition}`;
      return (await database.query<{ rows: number }>(sql))[0]?.rows;
    };
    const member = await join({ attempts: 1, prepare: () => Promise.reject(new Error('no luck')) });
    const old = uuidv7();
    await member.inbox.process([{ body: placed(uuidv7()) }, { body: garbled(old) }]);
    await database.execute(
      `UPDATE ${group.schema}.inbox SET received_at = received_at - interval '1 day' WHERE status = 'dead'`,
    );
    // A type that this service does not handle counts as unreadable, too.
    const foreign = (id: string) => Buffer.from(String(placed(id)).replace('"order.placed"', '"order.cancelled"'));
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
});
