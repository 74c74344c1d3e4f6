// The routes under /failed-messages/:service, with which an operator lists, groups and reads the messages that a
// service's consumer could not handle, retries and discards them (`sluice failed`).
import type { Request, RequestHandler, Router } from 'express';
import {
  type ErrorGroup,
  type FailedMessage,
  type FailedMessageDetails,
  failedMessagesQuery,
  type RetryProgress,
} from '../../contracts/operations.ts';
import { pageOf, pageQuery } from '../../contracts/pages.ts';
import { jsonBody, noBody, optionalJsonBody, parse, parseId, route } from '../../infra/http/app.ts';
import { notFound } from '../../infra/http/problem.ts';
import type { FailedMessages, FailedRow, ErrorGroup as StoredGroup } from '../../infra/messaging/failed-messages.ts';
import { discard, type Runner, retryMatching, retryOne } from './failed-decisions.ts';

export function failedMessagesRoutes(router: Router, runners: readonly Runner[]): void {
  const runnerOf = ({ params: { service } }: Request): Runner => {
    const runner = runners.find(({ name }) => name === service);
    if (!runner) throw notFound(`service in this process; there are ${runners.map(({ name }) => name).join(', ')}`);
    return runner;
  };
  const respondWith =
    (respond: (runner: Runner, request: Request) => Promise<{ status?: number; body: object }>): RequestHandler =>
    async (request, response) => {
      const { status = 200, body } = await respond(runnerOf(request), request);
      response.status(status).json(body);
    };
  const at = '/failed-messages/:service';
  route(router, at, { get: [respondWith(listFailed)] });
  // Before the route with an id, because `retry` and `groups` would match it.
  route(router, `${at}/retry`, { post: [...noBody, respondWith(retryMatching)] });
  route(router, `${at}/groups`, { get: [respondWith(listGroups)] });
  route(router, `${at}/retries/:run`, { get: [respondWith(readProgress)] });
  route(router, `${at}/:id`, { get: [respondWith(readFailed)] });
  route(router, `${at}/:id/retry`, { post: [optionalJsonBody, respondWith(retryOne)] });
  route(router, `${at}/:id/discard`, {
    post: [
      jsonBody,
      respondWith(async (runner, request) => {
        await discard(runner, request);
        return readFailed(runner, request);
      }),
    ],
  });
}

async function listFailed({ failed }: Runner, { query }: Request) {
  const { after, limit, ...filter } = parse(failedMessagesQuery, query);
  const rows = await failed.list(filter, after, limit + 1);
  return { body: pageOf(rows.map(failedMessage), limit) };
}

async function listGroups({ failed }: Runner, { query }: Request) {
  const { after, limit } = parse(pageQuery, query);
  return { body: pageOf((await failed.groups(after, limit + 1)).map(errorGroup), limit) };
}

async function readProgress({ failed }: Runner, { params }: Request) {
  const body: RetryProgress = await failed.progress(parseId(params.run, 'run of retries'));
  return { body };
}

async function readFailed({ failed }: Runner, { params }: Request) {
  const row = await failed.find(parseId(params.id, 'failed message'));
  if (!row) throw notFound('failed message');
  return { body: failedMessageDetails(row) };
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
