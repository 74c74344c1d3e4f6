// Retrying a failed message while it is busy: its reply is being resent, or an attempt is under way. The tests claim
// rows themselves, as another process of the service would, so that each conflict occurs.
import { randomUUID } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, onTestFinished, test } from 'vitest';
import { serveFailedMessages } from '../../app/admin/failed-messages.ts';
import { stepFailed } from '../../contracts/events.ts';
import type { RetryResult } from '../../contracts/operations.ts';
import { createApp } from '../../infra/http/app.ts';
import { listen } from '../../infra/http/server.ts';
import { FailedMessages } from '../../infra/messaging/failed-messages.ts';
import type { Inbox } from '../../infra/messaging/inbox.ts';
import { InboxStore } from '../../infra/messaging/inbox-store.ts';
import { Outbox, reportDead } from '../../infra/messaging/outbox.ts';
import type { HandlingOutcome } from '../../infra/observability/log-format.ts';
import { call } from '../setup/api.ts';
import { type Databases, databasePlaces, log } from '../setup/bus-fixtures.ts';
import { retryFailed, retryFailedOne } from '../setup/failed.ts';
import { createTables } from '../setup/group-consumer.ts';
import { createInbox } from '../setup/inbox.ts';
import * as schemas from '../setup/schemas.ts';
import { eventBody } from '../setup/service-alone.ts';

const { databaseUrl } = inject('servers');
const LEASE_MS = 60_000;

describe.for(databasePlaces(databaseUrl).filter(({ available }) => available))('$place', ({ open }) => {
  let databases: Databases;
  let schema: string;
  let inbox: Inbox;
  let failed: FailedMessages;
  let outcomes: HandlingOutcome[];
  let broken: boolean;

  beforeAll(async () => {
    databases = await open();
  });
  afterAll(() => databases?.close());
  beforeEach(async () => {
    schema = `f_${randomUUID().replaceAll('-', '')}`;
    await createTables(databases.database, { name: 'points', schema });
    failed = new FailedMessages(databases.database, schema);
    broken = true;
    outcomes = [];
    // Not started, so only the tests claim rows.
    inbox = createInbox(databases.database, schema, {
      handlers: {
        'order.placed': {
          handle: async () => {
            if (broken) throw new Error('out of points');
          },
        },
      },
      onDead: reportDead(new Outbox(schema), 'step.failed', stepFailed('points')),
      leaseMs: LEASE_MS,
      prefetch: 10,
      maxRows: 10,
      onOutcome: (_type, outcome) => outcomes.push(outcome),
    });
  });

  const orderPlaced = () => {
    const orderId = uuidv7();
    return eventBody('order.placed', orderId, { orderId, userId: 'alice', currency: 'GBP', total: 100, itemCount: 1 });
  };
  const claim = (leaseMs = LEASE_MS) => new InboxStore(schema).claimDue(databases.database, leaseMs, 10);
  const rows = () =>
    databases.database.query<{ status: string; attempts: number; claimed: boolean }>(
      `SELECT status, attempts, claimed_until IS NOT NULL AS claimed FROM ${schema}.inbox ORDER BY received_at`,
    );

  /** A dead message that arrived again, as claimed by the process that resends its reply. */
  async function resending() {
    const message = { body: orderPlaced() };
    await inbox.process([message]);
    await inbox.enqueue([message]);
    const claimed = await claim();
    expect(claimed).toMatchObject([{ status: 'dead' }]);
    return claimed;
  }

  /** POST /failed-messages/points/retry */
  async function retryAll(): Promise<RetryResult> {
    const server = await listen(
      createApp(log, (api) => serveFailedMessages(api, [{ name: 'points', failed, wake: () => inbox.wake() }])),
      '127.0.0.1',
      0,
    );
    onTestFinished(() => server.close());
    const response = await call(`${server.url}/failed-messages/points/retry`, { method: 'POST' });
    expect(response.status).toBe(202);
    return response.json(schemas.retryResult);
  }

  test('retries a dead message whose reply is being resent', async () => {
    const claimed = await resending();
    broken = false;
    expect(await retryAll()).toEqual({ retried: 1, left: 0, truncated: 0 });
    await inbox.worker.processClaimed(claimed);
    await inbox.worker.processClaimed(await claim());
    expect(await rows()).toEqual([{ status: 'done', attempts: 1, claimed: false }]);
    expect(outcomes).toEqual(['dead', 'duplicate', 'done']);
  });

  test('a reply that is resent late leaves the claim of the new attempt as it is', async () => {
    const claimed = await resending();
    await retryFailedOne(failed, String(claimed[0]?.message_id));
    expect(await claim()).toMatchObject([{ status: 'retrying', attempts: 1 }]);
    await inbox.worker.processClaimed(claimed);
    expect(await rows()).toEqual([{ status: 'retrying', attempts: 1, claimed: true }]);
    expect(await claim()).toEqual([]);
  });

  test('waits for an attempt that ends soon, and retries a message whose attempt did not finish', async () => {
    await inbox.process([{ body: orderPlaced() }, { body: orderPlaced() }]);
    await retryFailed(failed, { status: 'dead' });
    expect(await claim(500)).toMatchObject([{ status: 'retrying' }]);
    expect(await retryAll()).toEqual({ retried: 2, left: 0, truncated: 0 });
  });

  test('stops waiting after a while, and returns how many messages it has not retried', async () => {
    await inbox.process([{ body: orderPlaced() }, { body: orderPlaced() }]);
    await retryFailed(failed, { status: 'dead' });
    expect(await claim()).toMatchObject([{ status: 'retrying' }]);
    expect(await retryAll()).toEqual({ retried: 1, left: 1, truncated: 0 });
  });
});
