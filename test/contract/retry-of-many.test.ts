// The calls that list and retry failed messages, on an inbox whose rows nobody works on: what they change can be counted.
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { failedMessagesRoutes } from '../../app/admin/failed-messages.ts';
import { eventSchemas } from '../../contracts/events.ts';
import type { RetryResult } from '../../contracts/operations.ts';
import { createApp } from '../../infra/http/app.ts';
import { type HttpServer, listen } from '../../infra/http/server.ts';
import { Inbox } from '../../infra/messaging/inbox.ts';
import { call } from '../service/support/api.ts';
import { type Databases, log, pgliteInFolder, postgresAt } from '../setup/bus-stages.ts';
import { createTables } from '../setup/member.ts';

const { databaseUrl } = inject('servers');

let databases: Databases;
let schema: string;
let http: HttpServer;
beforeAll(async () => {
  databases = databaseUrl ? await postgresAt(databaseUrl) : await pgliteInFolder();
});
afterAll(() => databases?.close());
beforeEach(async () => {
  schema = `f_${randomUUID().replaceAll('-', '')}`;
  await createTables(databases.database, { name: 'points', schema });
  const inbox = new Inbox({
    database: databases.database,
    schema,
    handlers: {},
    catalogue: eventSchemas,
    attempts: 1,
    retryBaseMs: 10,
    retryMaxMs: 10,
    leaseMs: 10_000,
    prefetch: 100,
    maxRows: 100,
    log,
  });
  const app = createApp(log, (router) => failedMessagesRoutes(router, [{ name: 'points', inbox }]));
  http = await listen(app, '127.0.0.1', 0);
});
afterEach(() => http?.close());

const post = (path: string) => call(`${http.url}/failed-messages/points${path}`, { method: 'POST' });

test('a run that is to take what fails in the future comes to an end, and retries each message once', async () => {
  await databases.database.execute(
    `INSERT INTO ${schema}.inbox (message_id, type, status, error, handled_at)
     SELECT gen_random_uuid(), 'order.placed', 'dead', 'no luck', now() FROM generate_series(1, 2300)`,
  );
  const answer = await post('/retry?failedBefore=9999-01-01T00:00:00.000000Z');
  expect([answer.status, answer.json<RetryResult>()]).toEqual([202, { retried: 2_300, left: 0 }]);
});
