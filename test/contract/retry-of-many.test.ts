// The routes that list and retry failed messages, and what the inbox stores of unreadable ones. The inbox is not
// started, so the tests can count the rows that a call changes.
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { serveFailedMessages } from '../../app/admin/failed-messages.ts';
import { MAX_EVENT_BYTES } from '../../infra/bus/port.ts';
import { migrate, readMigrations } from '../../infra/database/migrate.ts';
import { createApp } from '../../infra/http/app.ts';
import { type HttpServer, listen } from '../../infra/http/server.ts';
import { FailedMessages } from '../../infra/messaging/failed-messages.ts';
import type { Inbox } from '../../infra/messaging/inbox.ts';
import { call, get } from '../setup/api.ts';
import { type Databases, log, openDatabases } from '../setup/bus-fixtures.ts';
import { createTables } from '../setup/group-consumer.ts';
import { createInbox } from '../setup/inbox.ts';
import * as schemas from '../setup/schemas.ts';

const { databaseUrl } = inject('servers');

let databases: Databases;
let schema: string;
let inbox: Inbox;
let http: HttpServer;
beforeAll(async () => {
  databases = await openDatabases(databaseUrl);
});
afterAll(() => databases?.close());
beforeEach(async () => {
  schema = `f_${randomUUID().replaceAll('-', '')}`;
  await createTables(databases.database, { name: 'points', schema });
  inbox = createInbox(databases.database, schema);
  const failed = new FailedMessages(databases.database, schema);
  const app = createApp(log, (api) => serveFailedMessages(api, [{ name: 'points', failed, wake: () => inbox.wake() }]));
  http = await listen(app, '127.0.0.1', 0);
});
afterEach(() => http?.close());

const post = (path: string) => call(`${http.url}/failed-messages/points${path}`, { method: 'POST' });

test('retries each message once, even if failedBefore is in the future', async () => {
  await databases.database.execute(
    `INSERT INTO ${schema}.inbox (message_id, type, status, error, handled_at)
     SELECT gen_random_uuid(), 'order.placed', 'dead', 'no luck', now() FROM generate_series(1, 2300)`,
  );
  const answer = await post('/retry?failedBefore=9999-01-01T00:00:00.000000Z');
  expect([answer.status, answer.json(schemas.retryResult)]).toEqual([202, { retried: 2_300, left: 0, truncated: 0 }]);
});

const listed = async () => (await get(`${http.url}/failed-messages/points`, schemas.failedMessagesPage)).items;
const storedBytes = () =>
  databases.database.query<{ bytes: number }>(`SELECT octet_length(body) AS bytes FROM ${schema}.inbox`);

describe('a message that is larger than any event', () => {
  const SIZE = 3 * 1024 * 1024;
  const id = '019a0000-0000-7000-8000-000000000001';
  const large = (end = '.') => Buffer.from(JSON.stringify({ type: 'order.placed', text: 'x'.repeat(SIZE) }) + end);

  test.for(['process', 'enqueue', 'deadLetter'] as const)(
    'is cut to its first 64 KiB and stored with its size (%s)',
    async (method) => {
      const body = large();
      for (let delivery = 1; delivery <= 2; delivery++)
        await (method === 'deadLetter' ? inbox.deadLetter([{ body }], 'a reason') : inbox[method]([{ body }]));
      expect(await storedBytes()).toEqual([{ bytes: MAX_EVENT_BYTES }]);
      expect(await listed()).toMatchObject([
        {
          status: 'dead',
          error: `unreadable: ${body.length} bytes, allowed ${MAX_EVENT_BYTES}`,
          payload: body.subarray(0, MAX_EVENT_BYTES).toString(),
          payloadBytes: body.length,
          truncated: true,
        },
      ]);
    },
  );

  test('is not confused with another one that begins alike', async () => {
    await inbox.process([{ body: large('1') }, { body: large('2') }]);
    expect(await storedBytes()).toHaveLength(2);
  });

  test('cannot be retried and is counted as truncated; other messages are retried', async () => {
    await inbox.process([{ body: large() }, { body: Buffer.from('{}') }]);
    const message = (await listed()).find(({ truncated }) => truncated);
    const rejected = await post(`/${message?.id}/retry`);
    expect([rejected.status, rejected.body]).toEqual([
      409,
      {
        type: '/problems/message-truncated',
        title: 'This message cannot be retried',
        status: 409,
        detail: `It had ${message?.payloadBytes} bytes, more than an event may have, and only the first 65536 are stored.`,
      },
    ]);
    expect((await post('/retry?dryRun=true')).json(schemas.retryPreview)).toMatchObject({ matching: 1, truncated: 1 });
    expect((await post('/retry')).json(schemas.retryResult)).toEqual({ retried: 1, left: 0, truncated: 1 });
    expect(
      (await listed())
        .map(({ status, truncated }) => [status, truncated])
        .sort(([one], [other]) => String(one).localeCompare(String(other))),
    ).toEqual([
      ['dead', true],
      ['retrying', false],
    ]);
  });

  test('is cut by a migration if an earlier version stored all of it', async () => {
    const earlier = `e_${randomUUID().replaceAll('-', '')}`;
    const migrations = await readMigrations(new URL('../../infra/messaging/migrations/', import.meta.url), 'messaging');
    await migrate(
      databases.database,
      earlier,
      migrations.slice(
        0,
        migrations.findIndex(({ name }) => name.endsWith('_unreadable.sql')),
      ),
    );
    await databases.database.execute(
      `INSERT INTO ${earlier}.inbox (message_id, status, body, unreadable)
       VALUES ($1, 'dead', convert_to(repeat('x', 100000), 'UTF8'), true), (gen_random_uuid(), 'dead', 'short', true)`,
      [id],
    );
    await migrate(databases.database, earlier, migrations);
    const rows = await databases.database.query(
      `SELECT octet_length(body) AS bytes, original_bytes FROM ${earlier}.inbox ORDER BY bytes`,
    );
    expect(rows).toEqual([
      { bytes: 5, original_bytes: null },
      { bytes: MAX_EVENT_BYTES, original_bytes: 100_000 },
    ]);
  });
});

test('a body of 64 KiB is stored uncut, with its size', async () => {
  await inbox.process([{ body: Buffer.alloc(MAX_EVENT_BYTES, 'x') }]);
  expect(await listed()).toMatchObject([{ payloadBytes: MAX_EVENT_BYTES, truncated: false }]);
  expect(await storedBytes()).toEqual([{ bytes: MAX_EVENT_BYTES }]);
});
