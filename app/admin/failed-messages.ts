// The routes under /failed-messages/:service, with which an operator lists, reads and retries the messages that a
// service's consumer could not handle (`sluice failed`).
import { setTimeout as delay } from 'node:timers/promises';
import {
  type FailedMessage,
  MAX_RETRY_LIMIT,
  type RetryPreview,
  type RetryResult,
} from '../../contracts/operations.ts';
import { pageOf } from '../../contracts/pages.ts';
import { failedMessagesRoutes as routes } from '../../contracts/routes/operations.ts';
import type { ServiceName } from '../../contracts/services.ts';
import { type Api, type Input, type Reply, reply, type ServedRoute } from '../../infra/http/api.ts';
import { notFound, Problem } from '../../infra/http/problem.ts';
import type { FailedFilter, FailedRow } from '../../infra/messaging/failed-messages.ts';
import type { ServiceRunner } from '../service-runner.ts';

/** A message that is locked or being attempted is skipped, and checked again at this interval, this many times. */
const BUSY_MS = 100;
const BUSY_ROUNDS = 20;

type Runner = Pick<ServiceRunner, 'name' | 'failed' | 'wake'>;

export function serveFailedMessages(api: Api, runners: readonly Runner[]): void {
  const runnerOf = ({ service }: { readonly service: ServiceName }): Runner => {
    const runner = runners.find(({ name }) => name === service);
    if (!runner) throw notFound(`service in this process; there are ${runners.map(({ name }) => name).join(', ')}`);
    return runner;
  };
  api.handle(routes.listFailedMessages, ({ params, query }) => listFailed(runnerOf(params), query));
  // Before the route with an id, because `retry` would match it.
  api.handle(routes.retryFailedMessages, ({ params, query }) => retryMatching(runnerOf(params), query));
  api.handle(routes.readFailedMessage, ({ params }) => readFailed(runnerOf(params), params.id));
  api.handle(routes.retryFailedMessage, ({ params }) => retryOne(runnerOf(params), params.id));
}

type Query<Route extends ServedRoute> = Input<Route>['query'];

async function listFailed({ failed }: Runner, query: Query<typeof routes.listFailedMessages>) {
  const { after, limit, ...filter } = query;
  const rows = await failed.list(filter, after, limit + 1);
  return reply(200, pageOf(rows.map(failedMessage), limit));
}

async function retryMatching(
  runner: Runner,
  { dryRun, limit, ...selection }: Query<typeof routes.retryFailedMessages>,
): Promise<Reply<typeof routes.retryFailedMessages>> {
  const preview: RetryPreview = await runner.failed.count(selection);
  if (dryRun) return reply(200, preview);
  const { asOf, truncated } = preview;
  // A message that fails again during this call waits for the next one. With a time in the future it would be retried
  // again and again.
  const [failedBefore] = [selection.failedBefore ?? asOf, asOf].sort();
  const result = await retryAll(runner, { ...selection, failedBefore }, limit);
  return reply(202, { ...result, truncated });
}

async function readFailed({ failed }: Runner, id: string) {
  const row = await failed.find(id);
  if (!row) throw notFound('failed message');
  return reply(200, failedMessage(row));
}

async function retryOne(runner: Runner, id: string): Promise<Reply<typeof routes.retryFailedMessage>> {
  const row = await runner.failed.find(id);
  if (row?.truncated) throw notStored(row);
  if (!row || (await runner.failed.retry({ id })) === 0) throw notFound('failed message');
  runner.wake();
  return reply(202, { retried: 1 });
}

/**
 * Retries in statements of bounded size. Without a `limit` it continues until no message is left, or until the
 * remaining ones have been busy for too long. It terminates, because a retried message no longer matches the selection.
 */
async function retryAll(
  runner: Runner,
  selection: FailedFilter,
  limit: number | undefined,
): Promise<Omit<RetryResult, 'truncated'>> {
  const batch = limit ?? MAX_RETRY_LIMIT;
  for (let retried = 0, busyRounds = 0; ; ) {
    const now = await runner.failed.retry(selection, batch);
    retried += now;
    runner.wake();
    if (limit === undefined && now === batch) continue;
    const { matching: left } = await runner.failed.count(selection);
    if (limit !== undefined || left === 0 || busyRounds === BUSY_ROUNDS) return { retried, left };
    busyRounds++;
    await delay(BUSY_MS);
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
