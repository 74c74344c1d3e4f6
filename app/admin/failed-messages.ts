// The routes under /failed-messages/:service: what a service's consumer could not handle, to be listed, looked at and
// retried by whoever runs the system (`sluice failed`).
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
import { notFound } from '../../infra/http/problem.ts';
import { parse, parseId } from '../../infra/http/validate.ts';
import type { FailedRow, RetrySelection } from '../../infra/messaging/failed-messages.ts';
import type { Inbox } from '../../infra/messaging/inbox.ts';
import type { ServiceRunner } from '../service-runner.ts';

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
        // None twice: one that fails again while others are retried waits for the next call.
        const failedBefore = selection.failedBefore ?? (await inbox.failed.count(selection)).asOf;
        response.status(202).json(await retryMany(inbox, { ...selection, failedBefore }, limit));
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
        if ((await inbox.failed.retry({ id })) === 0) throw notFound('failed message');
        inbox.wake();
        response.status(202).json({ retried: 1 });
      },
    ],
  });
}

/** In statements of bounded size, also where no `limit` is given. */
async function retryMany(inbox: Inbox, selection: RetrySelection, limit: number | undefined): Promise<RetryResult> {
  const batch = limit ?? MAX_RETRY_LIMIT;
  for (let retried = 0; ; ) {
    const now = await inbox.failed.retry(selection, batch);
    retried += now;
    inbox.wake();
    if (limit !== undefined) return { retried, left: (await inbox.failed.count(selection)).matching };
    if (now < batch) return { retried };
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
});
