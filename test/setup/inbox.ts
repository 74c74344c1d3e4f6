// An inbox for tests that process its rows themselves.
import { eventSchemas } from '../../contracts/events.ts';
import type { Database } from '../../infra/database/port.ts';
import { Inbox } from '../../infra/messaging/inbox.ts';
import type { InboxOptions } from '../../infra/messaging/inbox-transactions.ts';
import { log } from './bus-fixtures.ts';

/** Not started, and without handlers: every message is dead after one attempt. `changes` replace these options. */
export const createInbox = (database: Database, schema: string, changes: Partial<InboxOptions> = {}): Inbox =>
  new Inbox({
    database,
    schema,
    catalogue: eventSchemas,
    handlers: {},
    attempts: 1,
    retryBaseMs: 10,
    retryMaxMs: 10,
    leaseMs: 10_000,
    prefetch: 100,
    maxRows: 100,
    pollMs: 1_000,
    retentionDays: 1,
    failedRetentionDays: 90,
    log,
    ...changes,
  });
