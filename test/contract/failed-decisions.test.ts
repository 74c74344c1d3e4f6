// What operators decide about failed messages, over HTTP: discard, correct, retry by group, and the record of each
// decision. The inbox is not started, so the tests make each attempt themselves.
import { randomUUID } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { serveFailedMessages } from '../../app/admin/failed-messages.ts';
import { serveOperatorActions } from '../../app/admin/operator-actions.ts';
import { type EventData, stepFailed } from '../../contracts/events.ts';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import { createApp } from '../../infra/http/app.ts';
import { type HttpServer, listen } from '../../infra/http/server.ts';
import { FailedMessages } from '../../infra/messaging/failed-messages.ts';
import type { Inbox } from '../../infra/messaging/inbox.ts';
import { InboxStore } from '../../infra/messaging/inbox-store.ts';
import { readMessageHistory } from '../../infra/messaging/message-history.ts';
import { Outbox, reportDead } from '../../infra/messaging/outbox.ts';
import { countMessages, locateMessages } from '../../infra/messaging/stored-messages.ts';
import { call, get, jsonRequest, pages, postJson } from '../setup/api.ts';
import { type Databases, databasePlaces, log } from '../setup/bus-fixtures.ts';
import { createTables } from '../setup/group-consumer.ts';
import { createInbox } from '../setup/inbox.ts';
import * as schemas from '../setup/schemas.ts';
import { eventBody } from '../setup/service-alone.ts';
import { eventually } from '../setup/wait.ts';

const { databaseUrl } = inject('servers');
const MESSAGING = new URL('../../infra/messaging/migrations/', import.meta.url);

describe.for(databasePlaces(databaseUrl).filter(({ available }) => available))('$place', ({ open }) => {
  let databases: Databases;
  let schema: string;
  let inbox: Inbox;
  let http: HttpServer;
  let broken: boolean;
  let handled: unknown[];
  let replied: string[];

  beforeAll(async () => {
    databases = await open();
  });
  afterAll(() => databases?.close());
  beforeEach(async () => {
    schema = `f_${randomUUID().replaceAll('-', '')}`;
    await createTables(databases.database, { name: 'points', schema });
    broken = true;
    handled = [];
    replied = [];
    inbox = createInbox(databases.database, schema, {
      handlers: {
        'order.placed': {
          handle: async (_tx, events) => {
            if (broken) throw new Error(`no account ${uuidv7()} among ${Math.round(Math.random() * 1e6)}`);
            handled.push(...events.map(({ data }) => data));
          },
          resendReplies: async (_tx, subjects) => void replied.push(...subjects),
        },
      },
      onDead: reportDead(new Outbox(schema), 'step.failed', stepFailed('points')),
    });
    const failed = new FailedMessages(databases.database, schema);
    const app = createApp(log, (api) => {
      serveFailedMessages(api, [{ name: 'points', failed, wake: () => {} }]);
      serveOperatorActions(api, databases.database);
    });
    http = await listen(app, '127.0.0.1', 0);
  });
  afterEach(() => http?.close());

  const at = (path: string) => `${http.url}/failed-messages/points${path}`;
  const listed = async (filter = '') => (await get(at(filter), schemas.failedMessagesPage)).items;
  const shown = (id: string) => get(at(`/${id}`), schemas.failedMessageDetails);
  const store = () => new InboxStore(schema);
  const sql = (text: string, params: unknown[] = []) => databases.database.execute(text, params);
  const sent = () => databases.database.query<{ type: string }>(`SELECT type FROM ${schema}.outbox ORDER BY position`);
  const actionsOn = async (target: string) =>
    (await pages(`${http.url}/operator-actions`, schemas.operatorActionsPage))
      .flat()
      .filter((action) => action.target === target);
  const processDue = async () => inbox.worker.processClaimed(await store().claimDue(databases.database, 60_000, 100));

  const dataOf = (orderId: string): EventData<'order.placed'> => ({
    orderId,
    userId: 'alice',
    currency: 'GBP',
    total: 100,
    itemCount: 1,
  });
  /** A dead message about a new order. */
  async function dead(changes: Readonly<Record<string, unknown>> = {}) {
    const id = uuidv7();
    const orderId = uuidv7();
    const data = { ...dataOf(orderId), ...changes } as EventData<'order.placed'>;
    const body = eventBody('order.placed', orderId, data, id);
    await inbox.process([{ body }]);
    return { id, orderId, body };
  }

  describe('a discarded message', () => {
    test('is listed as discarded and no longer counts as a failure', async () => {
      const { id, orderId } = await dead();
      const answer = await postJson(at(`/${id}/discard`), { reason: 'a test order' });
      expect(answer.status).toBe(200);
      const { discardedAt } = answer.json(schemas.failedMessageDetails);
      expect(discardedAt).not.toBeNull();
      expect(await listed()).toEqual([]);
      expect(await listed('?status=dead')).toEqual([]);
      expect(await listed('?status=discarded')).toMatchObject([
        { id, status: 'discarded', discardReason: 'a test order', discardedAt },
      ]);
      expect((await get(at('/groups'), schemas.errorGroupsPage)).items).toEqual([]);
      const retry = await call(at('/retry'), { method: 'POST' });
      expect(retry.json(schemas.retryResult)).toEqual({ retried: 0, left: 0, truncated: 0 });
      expect(await countMessages(databases.database, schema)).toMatchObject({ inbox: { dead: { rows: 0 } }, dead: [] });
      expect(await locateMessages(databases.database, schema, [orderId])).toMatchObject([
        { place: 'outbox' },
        { id, place: 'discarded' },
      ]);
    });

    test('still replies that its step failed when it arrives again, and its retention begins again', async () => {
      const { id, body } = await dead();
      await postJson(at(`/${id}/discard`), { reason: 'a test order' });
      expect(await sent()).toMatchObject([{ type: 'step.failed' }]);
      await sql(`UPDATE ${schema}.inbox SET dead_since = now() - interval '100 days'`);
      await inbox.process([{ body }]);
      expect(await sent()).toMatchObject([{ type: 'step.failed' }, { type: 'step.failed' }]);
      expect(await shown(id)).toMatchObject({ status: 'discarded' });
      expect(await store().pruneDead(databases.database, 90)).toBe(0);
    });

    test('is kept by a retention of one day while it arrives again each hour', async () => {
      const { id, body } = await dead();
      await postJson(at(`/${id}/discard`), { reason: 'a test order' });
      for (let arrivals = 0; arrivals < 2; arrivals++) {
        await sql(`UPDATE ${schema}.inbox SET dead_since = dead_since - interval '23 hours'`);
        await inbox.process([{ body }]);
        expect(await store().pruneDead(databases.database, 1)).toBe(0);
      }
    });

    test('is retried by its id', async () => {
      const { id, orderId } = await dead();
      await postJson(at(`/${id}/discard`), { reason: 'a mistake' });
      broken = false;
      expect((await call(at(`/${id}/retry`), { method: 'POST' })).status).toBe(202);
      expect(await listed()).toMatchObject([{ id, status: 'retrying', discardedAt: null, discardReason: null }]);
      await processDue();
      expect(handled).toMatchObject([{ orderId }]);
      expect((await actionsOn(id)).map(({ action, before, after }) => [action, before?.status, after.status])).toEqual([
        ['failed-message.retry', 'discarded', 'retrying'],
        ['failed-message.discard', 'dead', 'discarded'],
      ]);
    });

    test('is in the history of its order, also when the rows of its attempts are deleted', async () => {
      const { id, orderId } = await dead();
      await postJson(at(`/${id}/discard`), { reason: 'a test order' });
      await sql(`DELETE FROM ${schema}.attempts`);
      const about = { subjects: [orderId], eventIds: [], reportType: 'step.failed' };
      const { entries } = await readMessageHistory(databases.database, schema, about);
      expect(entries.at(-1)).toMatchObject({ kind: 'discarded', eventId: id, detail: 'a test order' });
    });

    test('is not said to be discarded if it was retried at the same moment', async ({ skip }) => {
      if (databases.database.kind !== 'postgres') skip('the embedded database runs one transaction at a time');
      const { id } = await dead();
      const answer = await databases.database.transaction(async (tx) => {
        await tx.execute(`UPDATE ${schema}.inbox SET status = 'retrying' WHERE message_id = $1`, [id]);
        const waiting = `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%${schema}%'`;
        const discarding = postJson(at(`/${id}/discard`), { reason: 'x' });
        await eventually(async () => (await databases.database.query(waiting)).length > 0, {
          what: 'the discard waits for the row',
        });
        return { discarding };
      });
      const { status, json } = await answer.discarding;
      expect([status, json(schemas.problem).type]).toEqual([409, '/problems/message-not-dead']);
      expect(await actionsOn(id)).toEqual([]);
    });

    test('needs a reason, and must be dead', async () => {
      const { id } = await dead();
      for (const body of [{}, { reason: '' }, { reason: 'x'.repeat(201) }, { reason: 'a\u0000' }]) {
        const answer = await postJson(at(`/${id}/discard`), body);
        expect([answer.status, answer.json(schemas.problem).errors?.[0]?.path]).toEqual([422, 'reason']);
      }
      expect((await postJson(at(`/${uuidv7()}/discard`), { reason: 'x' })).status).toBe(404);
      await call(at(`/${id}/retry`), { method: 'POST' });
      const early = await postJson(at(`/${id}/discard`), { reason: 'x' });
      expect([early.status, early.json(schemas.problem).type]).toEqual([409, '/problems/message-not-dead']);
    });
  });

  describe('corrected data', () => {
    const correct = (id: string, data: object) => postJson(at(`/${id}/retry`), { data });

    test('is handled in place of the original; both are kept', async () => {
      const { id, orderId, body } = await dead({ currency: 'pounds' });
      broken = false;
      const data = dataOf(orderId);
      expect((await correct(id, data)).status).toBe(202);
      await processDue();
      expect(handled).toEqual([data]);
      const message = await shown(id);
      expect(message).toMatchObject({ status: 'done', corrected: true, payload: body.toString() });
      expect(JSON.parse(String(message.correctedPayload))).toEqual({ ...JSON.parse(body.toString()), data });
      expect(await listed()).toEqual([]);
      expect(await actionsOn(id)).toMatchObject([
        {
          action: 'failed-message.correct',
          who: 'local',
          from: '127.0.0.1',
          service: 'points',
          before: { status: 'dead', data: { ...data, currency: 'pounds' } },
          after: { status: 'retrying', attempts: 0, data },
        },
      ]);
    });

    test('is kept, and its reply sent again, when the unreadable original arrives again', async () => {
      const { id, orderId, body } = await dead({ currency: 'pounds' });
      const discarded = await dead({ currency: 'pounds' });
      await postJson(at(`/${discarded.id}/discard`), { reason: 'a test order' });
      await sql(`UPDATE ${schema}.inbox SET dead_since = now() - interval '100 days' WHERE message_id = $1`, [
        discarded.id,
      ]);
      broken = false;
      await correct(id, dataOf(orderId));
      await processDue();
      await inbox.process([{ body }, { body: discarded.body }]);
      expect(replied).toEqual([orderId]);
      expect(await shown(id)).toMatchObject({ status: 'done' });
      expect(await shown(discarded.id)).toMatchObject({ status: 'discarded' });
      expect(await store().pruneDead(databases.database, 90)).toBe(0);
    });

    test('is used again by a retry, and may be corrected again', async () => {
      const { id, orderId, body } = await dead();
      await correct(id, { ...dataOf(orderId), total: 200 });
      await processDue();
      expect(await listed()).toMatchObject([{ id, status: 'dead', corrected: true }]);
      await correct(id, { ...dataOf(orderId), total: 300 });
      await processDue();
      broken = false;
      await call(at(`/${id}/retry`), { method: 'POST' });
      await processDue();
      expect(handled).toMatchObject([{ total: 300 }]);
      expect((await shown(id)).payload).toBe(body.toString());
      const corrections = (await actionsOn(id)).filter(({ action }) => action === 'failed-message.correct');
      expect(corrections.map(({ before, after }) => [before, after])).toMatchObject([
        [{ data: { total: 200 } }, { data: { total: 300 } }],
        [{ data: { total: 100 } }, { data: { total: 200 } }],
      ]);
    });

    test.for([
      ['orderId', { orderId: '019a0000-0000-7000-8000-000000000001' }],
      ['userId', { userId: 'bob' }],
      ['ticketId', { ticketId: '019a0000-0000-7000-8000-000000000001' }],
      ['total', { total: -1 }],
      ['currency', { currency: 'XXXX' }],
      ['itemcount', { itemcount: 2 }],
      ['userId', { userId: undefined }],
    ] as const)('is rejected with the path of the field: %s', async ([field, changes]) => {
      const { id, orderId } = await dead();
      const answer = await correct(id, { ...dataOf(orderId), ...changes });
      expect(answer.status).toBe(422);
      expect(answer.json(schemas.problem).errors?.[0]?.path).toBe(`data.${field}`);
      expect(await listed()).toMatchObject([{ id, status: 'dead', corrected: false }]);
      expect(await actionsOn(id)).toEqual([]);
    });

    test('must be an object, for a dead message whose envelope can be read', async () => {
      const { id } = await dead();
      const noObject = await postJson(at(`/${id}/retry`), { data: 7 });
      expect([noObject.status, noObject.json(schemas.problem).errors?.[0]?.path]).toEqual([422, 'data']);
      expect((await postJson(at(`/${id}/retry`), { date: {} })).status).toBe(422);
      for (const body of ['not JSON', '{"type":"order.placed"}', '{"type":"order.eaten"}', '7']) {
        await sql(`UPDATE ${schema}.inbox SET body = convert_to($1, 'UTF8')`, [body]);
        const answer = await correct(id, {});
        expect([answer.status, answer.json(schemas.problem).type], body).toEqual([
          409,
          '/problems/message-not-correctable',
        ]);
      }
      await call(at(`/${id}/retry`), { method: 'POST' });
      expect((await correct(id, {})).json(schemas.problem).type).toBe('/problems/message-not-dead');
    });
  });

  test('groups messages whose errors differ only in ids and numbers, page by page', async () => {
    const fail = (status: string, type: string, error: string, minutesAgo: number) =>
      sql(
        `INSERT INTO ${schema}.inbox (message_id, type, status, error, error_group, received_at)
         VALUES ($1, $2, $3, $4, ${schema}.error_group($2, $4), now() - $5::integer * interval '1 minute')`,
        [uuidv7(), type, status, error, minutesAgo],
      );
    await fail('dead', 'order.placed', `no account ${uuidv7()} after 3 tries`, 5);
    await fail('dead', 'order.placed', `no account ${uuidv7().toUpperCase()} after 12.5 tries`, 1);
    await fail('retrying', 'order.placed', `no account ${uuidv7()} after 4 tries`, 9);
    await fail('dead', 'order.cancelled', `no account ${uuidv7()} after 3 tries`, 3);
    await fail('dead', 'order.placed', 'out of paper', 2);
    await sql(`INSERT INTO ${schema}.inbox (message_id, status, error) VALUES ($1, 'dead', 'of an earlier version')`, [
      uuidv7(),
    ]);
    const found = await pages(at('/groups?limit=1'), schemas.errorGroupsPage);
    expect(found.flat().map(({ type, error, dead, retrying }) => [type, error, dead, retrying])).toEqual([
      [null, 'of an earlier version', 1, 0],
      ['order.placed', 'no account <id> after <n> tries', 2, 1],
      ['order.placed', 'out of paper', 1, 0],
      ['order.cancelled', 'no account <id> after <n> tries', 1, 0],
    ]);
    expect(found).toHaveLength(4);
    for (const { id, dead, retrying, example } of found.flat()) {
      const its = await listed(`?group=${id}`);
      expect(its).toHaveLength(dead + retrying);
      expect(its[0]).toMatchObject(example);
    }
    const group = found.flat()[1]?.id;
    const retried = await call(at(`/retry?group=${group}`), { method: 'POST' });
    expect(retried.json(schemas.retryResult)).toEqual({ retried: 3, left: 0, truncated: 0 });
  });

  test('the pages of groups go on when the last group of a page ends', async () => {
    for (const error of ['first', 'second', 'third'])
      await sql(
        `INSERT INTO ${schema}.inbox (message_id, type, status, error, error_group)
         VALUES ($1, 'order.placed', 'dead', $2, ${schema}.error_group('order.placed', $2))`,
        [uuidv7(), error],
      );
    const { items, next } = await get(at('/groups?limit=1'), schemas.errorGroupsPage);
    expect(items).toMatchObject([{ error: 'third' }]);
    await sql(`UPDATE ${schema}.inbox SET status = 'done' WHERE error = 'third'`);
    const rest = await get(at(`/groups?after=${next}`), schemas.errorGroupsPage);
    expect(rest.items).toMatchObject([{ error: 'second' }, { error: 'first' }]);
  });

  test('a message is not retried by its id while it is being attempted', async () => {
    const { id } = await dead();
    await call(at(`/${id}/retry`), { method: 'POST' });
    await sql(`UPDATE ${schema}.inbox SET claimed_until = now() + interval '1 minute'`);
    const early = await call(at(`/${id}/retry`), { method: 'POST' });
    expect([early.status, early.json(schemas.problem).type]).toEqual([503, '/problems/unavailable']);
    const retry = call(at(`/${id}/retry`), { method: 'POST' });
    await sql(`UPDATE ${schema}.inbox SET claimed_until = NULL`);
    expect((await retry).status).toBe(202);
  });

  test('a message that an older process has marked dead is pruned, its retention later', async () => {
    await dead();
    await sql(`UPDATE ${schema}.inbox SET dead_since = NULL`);
    expect(await store().pruneDead(databases.database, 30)).toBe(0);
    await sql(`UPDATE ${schema}.inbox SET dead_since = dead_since - interval '31 days'`);
    expect(await store().pruneDead(databases.database, 30)).toBe(1);
  });

  test('a message that fails is grouped by its error', async () => {
    await dead();
    await dead();
    const [group, ...others] = (await get(at('/groups'), schemas.errorGroupsPage)).items;
    expect(others).toEqual([]);
    expect(group).toMatchObject({ type: 'order.placed', error: 'no account <id> among <n>', dead: 2, retrying: 0 });
    expect(await listed()).toMatchObject([{ group: group?.id }, { group: group?.id }]);
  });

  test('dead and discarded messages are pruned after a retention of their own', async () => {
    const [old, discarded, young] = [await dead(), await dead(), await dead()];
    await postJson(at(`/${discarded.id}/discard`), { reason: 'x' });
    const age = (id: string, days: number) =>
      sql(
        `UPDATE ${schema}.inbox SET received_at = now() - interval '1 year',
        dead_since = now() - $2::integer * interval '1 day' WHERE message_id = $1`,
        [id, days],
      );
    await age(old.id, 31);
    await age(discarded.id, 31);
    await age(young.id, 29);
    expect(await store().pruneDone(databases.database, 7)).toBe(0);
    expect(await store().pruneDead(databases.database, 30)).toBe(2);
    expect(await listed()).toMatchObject([{ id: young.id }]);
    expect(await listed('?status=discarded')).toEqual([]);
  });

  test('an upgrade keeps messages that have been dead for years, and groups them', async () => {
    const earlier = `e_${randomUUID().replaceAll('-', '')}`;
    const migrations = await readMigrations(MESSAGING, 'messaging');
    const before = migrations.findIndex(({ name }) => name.endsWith('_failed_messages.sql'));
    await migrate(databases.database, earlier, migrations.slice(0, before));
    await sql(`INSERT INTO ${earlier}.inbox (message_id, type, status, error, received_at, handled_at)
      SELECT gen_random_uuid(), 'order.placed', 'dead', 'attempt ' || n, now() - interval '3 years',
        now() - interval '3 years' FROM generate_series(1, 3) AS n`);
    await migrate(databases.database, earlier, migrations);
    expect(await new InboxStore(earlier).pruneDead(databases.database, 1)).toBe(0);
    expect(await new FailedMessages(databases.database, earlier).groups(undefined, 10)).toMatchObject([
      { type: 'order.placed', pattern: 'attempt <n>', dead: 3, retrying: 0 },
    ]);
  });

  test('a decision that cannot be recorded is not made', async () => {
    const { id } = await dead();
    // Not the tests' client: no route declares a 500.
    const statusOf = async (path: string, body = {}) => (await fetch(at(path), { ...jsonRequest(body) })).status;
    await sql(
      `ALTER TABLE sluice_admin.operator_actions ADD CONSTRAINT full_disk CHECK (service <> 'points') NOT VALID`,
    );
    try {
      for (const path of [`/${id}/retry`, '/retry', '/retry?limit=1']) expect(await statusOf(path), path).toBe(500);
      expect(await statusOf(`/${id}/discard`, { reason: 'x' })).toBe(500);
    } finally {
      await sql('ALTER TABLE sluice_admin.operator_actions DROP CONSTRAINT full_disk');
    }
    expect(await listed()).toMatchObject([{ id, status: 'dead' }]);
    expect(await actionsOn(id)).toEqual([]);
  });

  describe('a run of retries', () => {
    const progress = (run: string) => get(at(`/retries/${run}`), schemas.retryProgress);

    test('in several calls is one action, and retries each message once', async () => {
      for (let i = 0; i < 3; i++) await dead();
      const run = uuidv7();
      const retry = async () => {
        const answer = await call(at(`/retry?limit=2&run=${run}`), { method: 'POST' });
        await processDue();
        return answer.json(schemas.retryResult);
      };
      expect(await retry()).toEqual({ retried: 2, left: 1, truncated: 0 });
      expect(await retry()).toEqual({ retried: 1, left: 0, truncated: 0 });
      expect(await retry()).toEqual({ retried: 0, left: 0, truncated: 0 });
      expect(await progress(run)).toEqual({ waiting: 0, succeeded: 0, failed: 3 });
      const actions = (await pages(`${http.url}/operator-actions?service=points`, schemas.operatorActionsPage)).flat();
      expect(actions.filter(({ details }) => details.run === run)).toMatchObject([
        {
          action: 'failed-messages.retry',
          target: null,
          before: { dead: 3 },
          after: { retrying: 3 },
          updatedAt: expect.any(String),
        },
      ]);
      // With another filter, it is another action.
      await call(at(`/retry?run=${uuidv7()}&status=dead`), { method: 'POST' });
      expect(await progress(run)).toEqual({ waiting: 0, succeeded: 0, failed: 0 });
    });

    test('tells which messages succeeded, and keeps them for their retention after a late retry', async () => {
      await dead();
      await sql(`UPDATE ${schema}.inbox SET received_at = now() - interval '1 year'`);
      const run = uuidv7();
      await call(at(`/retry?run=${run}`), { method: 'POST' });
      expect(await progress(run)).toEqual({ waiting: 1, succeeded: 0, failed: 0 });
      broken = false;
      await processDue();
      expect(await store().pruneDone(databases.database, 7)).toBe(0);
      expect(await progress(run)).toEqual({ waiting: 0, succeeded: 1, failed: 0 });
    });

    test('retries a message whose attempt was under way when it began and has failed since', async () => {
      await dead();
      await dead();
      await call(at('/retry'), { method: 'POST' });
      const [underWay] = await store().claimDue(databases.database, 60_000, 1);
      const retrying = call(at('/retry'), { method: 'POST' });
      const waited = databases.database.query('SELECT pg_sleep(0.3)');
      await waited;
      await inbox.worker.processClaimed(underWay ? [underWay] : []);
      expect((await retrying).json(schemas.retryResult)).toEqual({ retried: 2, left: 0, truncated: 0 });
    });
  });
});
