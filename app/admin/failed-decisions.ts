// What an operator decides about failed messages: POST /failed-messages/:service/retry, …/:id/retry, …/:id/discard.
import { setTimeout as delay } from 'node:timers/promises';
import { v7 as uuidv7 } from 'uuid';
import { MAX_RETRY_LIMIT, type RetryPreview } from '../../contracts/operations.ts';
import type { operatorRoutes } from '../../contracts/routes/operations.ts';
import { type Input, type Reply, reply } from '../../infra/http/api.ts';
import { notFound, Problem, unavailable } from '../../infra/http/problem.ts';
import type { Decision } from '../../infra/messaging/failed-actions.ts';
import type { FailedRow } from '../../infra/messaging/failed-messages.ts';
import type { FailedFilter } from '../../infra/messaging/failed-selection.ts';
import type { Actor } from '../../infra/operators/operator-actions.ts';
import type { ServiceRunner } from '../service-runner.ts';
import { correctionOf } from './corrected-event.ts';

export type Runner = Pick<ServiceRunner, 'name' | 'failed' | 'wake'>;

/** A message that is locked or being attempted is tried again at this interval, until none was free for so long. */
const BUSY_MS = 100;
const MAX_BUSY_MS = 2_000;

const decisionOf = ({ name: service }: Runner, actor: Actor): Decision => ({ service, actor });

export async function retryMatching(
  runner: Runner,
  { dryRun, limit, run = uuidv7(), ...filter }: Input<typeof operatorRoutes.retryFailedMessages>['query'],
  actor: Actor,
): Promise<Reply<typeof operatorRoutes.retryFailedMessages>> {
  const preview: RetryPreview = await runner.failed.count(filter);
  if (dryRun) return reply(200, preview);
  // Only what has arrived before this call, so that it ends, however many messages fail meanwhile.
  const asOf = filter.asOf ?? preview.asOf;
  const decision = decisionOf(runner, actor);
  const retry = (most: number) =>
    runner.failed.actions.retryMany({ ...filter, asOf }, { limit: most, run, details: { run, ...filter } }, decision);
  const retried =
    limit === undefined ? await retryAll(runner, retry, { ...filter, asOf, notOfRun: run }) : await retry(limit);
  runner.wake();
  const { matching: left } = await runner.failed.count({ ...filter, asOf, notOfRun: run });
  return reply(202, { retried, left, truncated: preview.truncated });
}

/**
 * Retries in statements of bounded size, until no message is left or until none was free for MAX_BUSY_MS. Terminates,
 * because a retried message no longer matches the filter.
 */
async function retryAll(
  runner: Runner,
  retry: (most: number) => Promise<number>,
  filter: FailedFilter,
): Promise<number> {
  let retried = 0;
  for (let busyMs = 0; busyMs < MAX_BUSY_MS; ) {
    const now = await retry(MAX_RETRY_LIMIT);
    retried += now;
    if (now > 0) {
      busyMs = 0;
      runner.wake();
    }
    if (now === MAX_RETRY_LIMIT) continue;
    if ((await runner.failed.count(filter)).matching === 0) break;
    await delay(BUSY_MS);
    busyMs += BUSY_MS;
  }
  return retried;
}

export async function retryOne(
  runner: Runner,
  {
    id,
    run = uuidv7(),
    data,
  }: { id: string; run?: string | undefined; data?: Readonly<Record<string, unknown>> | undefined },
  actor: Actor,
): Promise<Reply<typeof operatorRoutes.retryFailedMessage>> {
  const { failed } = runner;
  const row = await failed.find(id);
  if (!row || row.status === 'done') throw notFound('failed message');
  if (row.truncated) throw notStored(row);
  const decision = decisionOf(runner, actor);
  if (data === undefined) {
    await untilFree(failed, id, () => failed.actions.retryOne(id, run, decision));
  } else {
    if (row.status === 'retrying') throw notDead();
    const correction = correctionOf(row.body ?? new Uint8Array(), data, row.corrected);
    if (!(await failed.actions.correct(id, correction, run, decision))) throw notDead();
  }
  runner.wake();
  return reply(202, { retried: 1 });
}

/**
 * Repeats `retry` until it changes the message: while an attempt is under way it does not, because that attempt would
 * record its outcome over the fresh ones.
 */
async function untilFree(failed: Runner['failed'], id: string, retry: () => Promise<boolean>): Promise<void> {
  for (let busyMs = 0; !(await retry()); busyMs += BUSY_MS) {
    const row = await failed.find(id);
    if (!row || row.status === 'done') throw notFound('failed message'); // that attempt succeeded
    if (busyMs >= MAX_BUSY_MS)
      throw unavailable('An attempt at this message is under way. Retry it when the attempt has ended.');
    await delay(BUSY_MS);
  }
}

/** Discarding a message again for the same reason changes nothing. */
export async function discard(
  runner: Runner,
  { id, reason }: { readonly id: string; readonly reason: string },
  actor: Actor,
): Promise<void> {
  const row = await runner.failed.find(id);
  if (!row || row.status === 'done') throw notFound('failed message');
  if (row.status === 'retrying') throw notDead();
  if (await runner.failed.actions.discard(id, reason, decisionOf(runner, actor))) return;
  // It is discarded for this reason already, or another operator has retried it meanwhile.
  if ((await runner.failed.find(id))?.status !== 'discarded') throw notDead();
}

const notDead = () =>
  new Problem(409, 'message-not-dead', {
    title: 'This message is still being retried',
    detail: 'Only a dead message can be discarded or corrected. Wait until its attempts are used up.',
  });

const notStored = ({ bytes, body }: FailedRow) =>
  new Problem(409, 'message-truncated', {
    title: 'This message cannot be retried',
    detail: `It had ${bytes} bytes, more than an event may have, and only the first ${body?.byteLength ?? 0} are stored.`,
  });
