// The rows of failed attempts, and the messages of a service as entries of a history, on PostgreSQL if available.
import { v7 as uuidv7 } from 'uuid';
import { expect, test } from 'vitest';
import { pruneAttempts } from '../../infra/messaging/attempts.ts';
import { readMessageHistory } from '../../infra/messaging/message-history.ts';
import { retryFailedOne } from '../setup/failed.ts';
import { database, group } from '../setup/group.ts';
import { insertUnfinished, join, status } from '../setup/member.ts';
import { orderPlaced } from '../setup/outgoing-events.ts';
import { eventually } from '../setup/wait.ts';

const attemptsAt = (id: string) =>
  database.query<{ attempt: number; outcome: string; error: string; duration_ms: number | null }>(
    `SELECT attempt, outcome, error, duration_ms FROM ${group.schema}.attempts WHERE message_id = $1 ORDER BY id`,
    [id],
  );

/** A message about an order. */
function newMessage() {
  const id = uuidv7();
  const { body } = orderPlaced(id);
  return { id, orderId: (JSON.parse(body) as { subject: string }).subject, message: { body: Buffer.from(body) } };
}

const historyOf = async (orderId: string, eventIds: readonly string[] = []) => {
  const about = { subjects: [orderId], eventIds, reportType: 'step.failed' };
  const { entries, truncated } = await readMessageHistory(database, group.schema, about);
  expect(truncated).toBe(false);
  // Rows of the outbox have the time of the transaction that wrote them, so they stand apart.
  return entries.filter(({ kind }) => kind !== 'waiting').sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
};

/** A member that fails the first `failures` attempts. */
async function failing(failures: number, attempts = 3) {
  let left = failures;
  return join({
    attempts,
    handle: () => {
      if (left-- > 0) throw new Error(`no ledger, ${left} left`);
    },
  });
}

test('each failed attempt has a row, and the history shows it between receiving and handling', async () => {
  const { id, orderId, message } = newMessage();
  const member = await failing(2);
  await member.inbox.process([message]);
  await eventually(async () => (await status(id))?.status === 'done', { what: 'the message is done' });
  expect(await attemptsAt(id)).toEqual([
    { attempt: 1, outcome: 'retrying', error: 'no ledger, 1 left', duration_ms: expect.any(Number) },
    { attempt: 2, outcome: 'retrying', error: 'no ledger, 0 left', duration_ms: expect.any(Number) },
  ]);
  expect(await historyOf(orderId)).toMatchObject([
    { kind: 'received', eventId: id, type: 'order.placed' },
    { kind: 'retried', eventId: id, attempt: 1, detail: 'no ledger, 1 left' },
    { kind: 'retried', eventId: id, attempt: 2, detail: 'no ledger, 0 left' },
    { kind: 'handled', eventId: id, attempt: 3, durationMs: expect.any(Number) },
  ]);
});

test('a message that is done at once has no row, and is found by its id', async () => {
  const { id, orderId, message } = newMessage();
  const member = await failing(0);
  await member.inbox.process([message]);
  expect(await attemptsAt(id)).toEqual([]);
  const shown = await historyOf(orderId, [id]);
  expect(shown).toMatchObject([{ kind: 'received' }, { kind: 'handled', attempt: 1 }]);
  expect(await historyOf(orderId)).toEqual([]); // the inbox has no index by subject
});

test('the last attempt is dead, with the event that reports it; a retry by an operator begins again', async () => {
  const { id, orderId, message } = newMessage();
  const member = await failing(2, 1);
  await member.inbox.process([message]);
  expect(await attemptsAt(id)).toMatchObject([{ attempt: 1, outcome: 'dead' }]);
  const [report] = await database.query<{ event_id: string }>(
    `SELECT event_id FROM ${group.schema}.outbox WHERE type = 'step.failed'`,
  );
  const dead = { kind: 'dead', eventId: id, attempt: 1, detail: 'no ledger, 1 left' };
  const written = { kind: 'written', eventId: report?.event_id, type: 'step.failed' };
  expect(await historyOf(orderId)).toEqual(
    expect.arrayContaining([expect.objectContaining(dead), expect.objectContaining(written)]),
  );

  await member.inbox.stop();
  await retryFailedOne(member.failed, id);
  expect((await historyOf(orderId)).at(-1)).toMatchObject({
    kind: 'retried',
    detail: 'an operator gave it fresh attempts',
  });
  const other = await failing(1, 2);
  other.inbox.wake();
  await eventually(async () => (await status(id))?.status === 'done', { what: 'the message is done' });
  expect(await attemptsAt(id)).toMatchObject([
    { attempt: 1, outcome: 'dead' },
    { attempt: 1, outcome: 'retrying' },
  ]);
  expect((await historyOf(orderId)).filter(({ kind }) => kind === 'handled')).toMatchObject([{ attempt: 2 }]);
});

test('an attempt that ended its process is the last one, of unknown duration', async () => {
  const id = uuidv7();
  await insertUnfinished(id, 3);
  await join({ attempts: 3 });
  await eventually(async () => (await status(id))?.status === 'dead', { what: 'the message is dead' });
  const error = 'the process ended during the last of 3 attempts';
  expect(await attemptsAt(id)).toEqual([{ attempt: 3, outcome: 'dead', error, duration_ms: null }]);
});

test('a failed attempt at resending a reply has a row', async () => {
  const { id, message } = newMessage();
  const member = await join({
    attempts: 2,
    resendReplies: () => {
      throw new Error('no reply');
    },
  });
  await member.inbox.process([message]);
  await member.inbox.process([message]);
  await eventually(() => member.outcomes.includes('reply-dead'), { what: 'the reply is resent no more' });
  const outcomes = (await attemptsAt(id)).map(({ outcome, error }) => [outcome, error]);
  expect(outcomes[0]).toEqual(['reply-retrying', 'no reply']);
  expect(outcomes.at(-1)).toEqual(['reply-dead', 'no reply']);
});

test('an unreadable message has no row, so that a flood of them does not fill the disk, but it is in the history', async () => {
  const { id, orderId } = newMessage();
  const member = await failing(0);
  const body = Buffer.from(JSON.stringify({ id, type: 'order.placed', subject: orderId }));
  await member.inbox.process([{ body }]);
  expect(await status(id)).toMatchObject({ status: 'dead' });
  expect(await attemptsAt(id)).toEqual([]);
  expect(await historyOf(orderId)).toEqual(
    expect.arrayContaining([expect.objectContaining({ kind: 'dead', detail: expect.stringContaining('unreadable') })]),
  );
});

test('rows are deleted after the retention', async () => {
  const { id, message } = newMessage();
  const member = await failing(1, 2);
  await member.inbox.process([message]);
  expect(await pruneAttempts(database, group.schema, 7)).toBe(0);
  await database.execute(`UPDATE ${group.schema}.attempts SET failed_at = now() - interval '8 days'`);
  expect(await pruneAttempts(database, group.schema, 7)).toBe(1);
  expect(await attemptsAt(id)).toEqual([]);
});

test('an event that waits in the outbox is in the history of its subject, with its failures', async () => {
  const { orderId, message } = newMessage();
  const member = await failing(0);
  await member.inbox.process([message]); // this member has no relay, so its reply stays in the outbox
  await database.execute(`UPDATE ${group.schema}.outbox SET failures = 2, error = 'no route' WHERE subject = $1`, [
    orderId,
  ]);
  const about = { subjects: [orderId], eventIds: [], reportType: 'step.failed' };
  expect((await readMessageHistory(database, group.schema, about)).entries).toMatchObject([
    { kind: 'waiting', type: 'points.awarded', attempt: 2, detail: 'no route' },
  ]);
});
