// The routes under /failed-messages/:service: messages that a service's consumer could not handle. An operator
// lists, reads and retries them here (`sluice failed`).
import { setTimeout as sleep } from 'node:timers/promises';
import type { Router } from 'express';
import {
  type FailedMessage,
  failedMessagesQuery,
  MAX_RETRY_LIMIT,
  type RetryPreview,
  type RetryResult,
  retryQuery,
} from '../../contracts/operations.ts';
import { pageOf } from '../../contracts/pages.ts';
import { route } from '../../infra/http/app.ts';
import { notFound, Problem } from '../../infra/http/problem.ts';
import { parse, parseId } from '../../infra/http/validate.ts';
import type { FailedRow, RetrySelection } from '../../infra/messaging/failed-messages.ts';
import type { Inbox } from '../../infra/messaging/inbox.ts';
import type { ServiceRunner } from '../service-runner.ts';

/** A message that is locked or being attempted is passed over, and looked at again after this, so many times. */
const BUSY_MS = 100;
const BUSY_ROUNDS = 20;

export function failedMessagesRoutes(router: Router, runners: readonly Pick<ServiceRunner, 'name' | 'inbox'>[]): void {
  const inboxOf = (name: unknown) => {
    const runner = runners.find((candidate) => candidate.name === name);
    if (!runner)
      throw notFound(`service in this process; there are ${runners.map((candidate) => candidate.name).join(', ')}`);
    return runner.inbox;
  };

  route(router, '/failed-messages/:service', {
    get: [
      async (request, response) => {
        const inbox = inboxOf(request.params.service);
        const { after, limit, ...filter } = parse(failedMessagesQuery, request.query);
        const rows = await inbox.failed.list(filter, after, limit + 1);
        response.json(pageOf(rows.map(failedMessage), limit));
      },
    ],
  });

  route(router, '/failed-messages/:service/retry', {
    post: [
      async (request, response) => {
        const inbox = inboxOf(request.params.service);
        const { dryRun, limit, ...selection } = parse(retryQuery, request.query);
        if (dryRun) {
          const preview: RetryPreview = await inbox.failed.count(selection);
          response.json(preview);
          return;
        }
        // None twice: one that fails again while others are retried waits for the next call. A time in the future would
        // retry it again and again.
        const { asOf, truncated } = await inbox.failed.count(selection);
        const [failedBefore] = [selection.failedBefore ?? asOf, asOf].sort();
        const result: RetryResult = { ...(await retryMany(inbox, { ...selection, failedBefore }, limit)), truncated };
        response.status(202).json(result);
      },
    ],
  });

  // After /retry, which is no id.
  route(router, '/failed-messages/:service/:id', {
    get: [
      async (request, response) => {
        const inbox = inboxOf(request.params.service);
        const row = await inbox.failed.find(parseId(request.params.id, 'failed message'));
        if (!row) throw notFound('failed message');
        response.json(failedMessage(row));
      },
    ],
  });

  route(router, '/failed-messages/:service/:id/retry', {
    post: [
      async (request, response) => {
        const inbox = inboxOf(request.params.service);
        const id = parseId(request.params.id, 'failed message');
        const row = await inbox.failed.find(id);
        if (row?.truncated) throw notStored(row);
        if (!row || (await inbox.failed.retry({ id })) === 0) throw notFound('failed message');
        inbox.wake();
        response.status(202).json({ retried: 1 });
      },
    ],
  });
}

/**
 * In statements of bounded size. Without a `limit` it goes on until none is left, or until those that are left have
 * been busy for too long. Ends, as what is retried no longer matches.
 */
async function retryMany(
  inbox: Inbox,
  selection: RetrySelection,
  limit: number | undefined,
): Promise<Omit<RetryResult, 'truncated'>> {
  const batch = limit ?? MAX_RETRY_LIMIT;
  for (let retried = 0, busyRounds = 0; ; ) {
    const now = await inbox.failed.retry(selection, batch);
    retried += now;
    inbox.wake();
    if (limit === undefined && now === batch) continue;
    const { matching: left } = await inbox.failed.count(selection);
    if (limit !== undefined || left === 0 || busyRounds === BUSY_ROUNDS) return { retried, left };
    busyRounds++;
    await sleep(BUSY_MS);
  }
}

const failedMessage = (row: FailedRow): FailedMessage => ({
  id: row.message_id,
  type: row.type,
  subject: row.subject,
  status: row.status,
  attempts: row.attempts,
  error: row.error,
  nextAttemptAt: row.status === 'retrying' ? row.next_attempt_at.toISOString() : null,
  receivedAt: row.received_at.toISOString(),
  payload: Buffer.from(row.body ?? []).toString('utf8'),
  payloadBytes: row.bytes,
  truncated: row.truncated,
});

const notStored = ({ bytes, body }: FailedRow) =>
  new Problem(409, 'message-truncated', {
    title: 'This message cannot be retried',
    detail: `It had ${bytes} bytes, more than an event may have, and only the first ${body?.byteLength ?? 0} are stored.`,
  });
