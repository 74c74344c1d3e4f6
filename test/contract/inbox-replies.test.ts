// A request that arrives again: the inbox resends its reply, or gives that up, without touching what is recorded about
// the message.
import { v7 as uuidv7 } from 'uuid';
import { describe, expect, inject, test } from 'vitest';
import { deferred } from '../../infra/runtime/promises.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { database, group } from '../setup/group.ts';
import type { GroupConsumer } from '../setup/group-consumer.ts';
import { insertUnfinished, join, status } from '../setup/member.ts';
import { placed } from '../setup/outgoing-events.ts';
import { eventually } from '../setup/wait.ts';

describe('a reply that cannot be resent', () => {
  const reply = async (id: string) => {
    const [row] = await database.query<Reply>(
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
  const replies = async () => (await database.query(`SELECT FROM ${group.schema}.outbox`)).length;
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
  test.skipIf(!inject('servers').databaseUrl)(
    'is charged no further attempt while a live process holds it beyond its lease',
    async () => {
      const released = deferred();
      cleanUps.push(released.resolve);
      const member = await join({ attempts: 1, leaseMs: 100, resendReplies: () => released.promise });
      const [id, killer] = [uuidv7(), uuidv7()];
      const message = { body: placed(id) };
      await member.inbox.process([message]);
      await member.inbox.enqueue([message]);
      const expired = () =>
        database.query(
          `SELECT FROM ${group.schema}.inbox WHERE message_id = $1 AND claimed_until < now() - interval '1 ms'`,
          [id],
        );
      await eventually(async () => (await expired()).length === 1, { what: 'the lease has expired' });
      await insertUnfinished(killer, 1);
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
    const message = { body: placed(id) };
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

  test('is retried by the worker if it fails in the transaction of an arrival, and delays no new message', async () => {
    const { state, member } = await joinMute();
    const [id, fresh] = [uuidv7(), uuidv7()];
    const message = { body: placed(id) };
    await member.inbox.process([message]);
    await member.inbox.process([message, { body: placed(fresh) }]);
    expect((await status(fresh))?.status).toBe('done');
    expect(member.outcomes.slice(0, 3).toSorted()).toEqual(['done', 'done', 'reply-retrying']);
    await eventually(() => deadReplies(member).length === 1, { what: 'the reply is dead' });
    expect(await reply(id)).toMatchObject({ status: 'done', reply_attempts: 3, reply_requested: false });

    state.left = 1;
    await member.inbox.process([message]);
    await eventually(() => member.outcomes.includes('duplicate'), { what: 'the worker resends it' });
    expect(await reply(id)).toMatchObject({ status: 'done', reply_error: null, reply_requested: false });
  });

  test('does not prevent the other replies of its batch', async () => {
    const { state, member } = await joinMute();
    const messages = [uuidv7(), uuidv7(), uuidv7()].map((id) => ({ id, body: placed(id) }));
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
    const message = { body: placed(id) };
    await member.inbox.process([message]);
    await eventually(async () => (await status(id))?.status === 'dead', { what: 'the message is dead' });
    await database.script(`
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
    await database.execute(
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
  const message = { body: placed(id) };
  await member.inbox.process([message]);
  await member.inbox.process([message]);
  const reports = () =>
    database.query<{ event_id: string; type: string }>(`SELECT event_id, type FROM ${group.schema}.outbox`);
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
