// The routes under /failed-messages/:service, with which an operator lists, groups and reads the messages that a
// service's consumer could not handle, retries and discards them (`sluice failed`).
import type { ErrorGroup, FailedMessage, FailedMessageDetails } from '../../contracts/operations.ts';
import { pageOf } from '../../contracts/pages.ts';
import { operatorRoutes as routes } from '../../contracts/routes/operations.ts';
import type { ServiceName } from '../../contracts/services.ts';
import { actorOf } from '../../infra/http/actor.ts';
import { type Api, reply } from '../../infra/http/api.ts';
import { notFound } from '../../infra/http/problem.ts';
import type { FailedMessages, FailedRow, ErrorGroup as StoredGroup } from '../../infra/messaging/failed-messages.ts';
import { discard, type Runner, retryMatching, retryOne } from './failed-decisions.ts';

export function serveFailedMessages(api: Api, runners: readonly Runner[]): void {
  const runnerOf = ({ service }: { readonly service: ServiceName }): Runner => {
    const runner = runners.find(({ name }) => name === service);
    if (!runner) throw notFound(`service in this process; there are ${runners.map(({ name }) => name).join(', ')}`);
    return runner;
  };
  api.handle(routes.listFailedMessages, async ({ params, query: { after, limit, ...filter } }) => {
    const rows = await runnerOf(params).failed.list(filter, after, limit + 1);
    return reply(200, pageOf(rows.map(failedMessage), limit));
  });
  // Before the route with an id, because `retry` and `groups` would match it.
  api.handle(routes.retryFailedMessages, ({ params, query }, request) =>
    retryMatching(runnerOf(params), query, actorOf(request)),
  );
  api.handle(routes.groupFailedMessages, async ({ params, query: { after, limit } }) => {
    const groups = await runnerOf(params).failed.groups(after, limit + 1);
    // The cursor is a message, because a group ends with its last message.
    const { items, next } = pageOf(groups, limit, 'message_id');
    return reply(200, { items: items.map(errorGroup), next });
  });
  api.handle(routes.readRetryProgress, async ({ params }) =>
    reply(200, await runnerOf(params).failed.progress(params.run)),
  );
  api.handle(routes.readFailedMessage, async ({ params }) => reply(200, await detailsOf(runnerOf(params), params.id)));
  api.handle(routes.retryFailedMessage, ({ params: { id, ...params }, query, body }, request) =>
    retryOne(runnerOf(params), { id, ...query, ...body }, actorOf(request)),
  );
  api.handle(routes.discardFailedMessage, async ({ params, body }, request) => {
    const runner = runnerOf(params);
    await discard(runner, { id: params.id, reason: body.reason }, actorOf(request));
    return reply(200, await detailsOf(runner, params.id));
  });
}

async function detailsOf({ failed }: Runner, id: string): Promise<FailedMessageDetails> {
  const row = await failed.find(id);
  if (!row) throw notFound('failed message');
  return failedMessageDetails(row);
}

/** A list has no done message. */
const failedMessage = (row: FailedRow) => shown(row) as FailedMessage;

const shown = (row: FailedRow) => ({
  id: row.message_id,
  type: row.type,
  subject: row.subject,
  status: row.status,
  attempts: row.attempts,
  error: row.error,
  group: row.error_group,
  nextAttemptAt: row.status === 'retrying' ? (row.next_attempt_at?.toISOString() ?? null) : null,
  receivedAt: row.received_at.toISOString(),
  discardedAt: row.discarded_at?.toISOString() ?? null,
  discardReason: row.discard_reason,
  payload: utf8(row.body),
  payloadBytes: row.bytes,
  truncated: row.truncated,
  corrected: row.is_corrected,
});

const failedMessageDetails = (row: NonNullable<Awaited<ReturnType<FailedMessages['find']>>>): FailedMessageDetails => ({
  ...shown(row),
  correctedPayload: row.corrected && utf8(row.corrected),
});

const errorGroup = ({ id, type, pattern, dead, retrying, ...group }: StoredGroup): ErrorGroup => ({
  id,
  type,
  error: pattern,
  dead,
  retrying,
  oldestAt: group.oldest.toISOString(),
  newestAt: group.newest.toISOString(),
  example: { id: group.message_id, error: group.error },
});

const utf8 = (bytes: Uint8Array | null) => Buffer.from(bytes ?? []).toString('utf8');
