// Retries the messages that failed before the run began, service by service, at a bounded rate. A message that fails
// again during the run is not retried again: the run retries only messages that failed before it began, by the
// database's clock.
import { setTimeout as sleep } from 'node:timers/promises';
import { MAX_RETRY_LIMIT, type RetryPreview } from '../../contracts/operations.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { FailedMessages, Query } from './client.ts';

/** Messages that are being handled are skipped, and retried after this pause, at most this many times. */
const BUSY_MS = 200;
const BUSY_ROUNDS = 25;

export interface ServiceRetries {
  readonly service: ServiceName;
  /** Messages that matched when the run began. */
  readonly matching: number;
  retried: number;
  /** Not retried, by the last response. */
  left: number;
}

/** A run of retries and its progress. */
export class RetryRun {
  readonly services: readonly Readonly<ServiceRetries>[];
  /** Messages that match and cannot be retried. */
  readonly truncated: number;
  readonly #runs: readonly { readonly progress: ServiceRetries; readonly failedBefore: string }[];

  constructor(previews: ReadonlyMap<ServiceName, RetryPreview>) {
    this.#runs = Array.from(previews, ([service, { matching, asOf }]) => ({
      progress: { service, matching, retried: 0, left: matching },
      failedBefore: asOf,
    }));
    this.services = this.#runs.map(({ progress }) => progress);
    this.truncated = [...previews.values()].reduce((sum, { truncated }) => sum + truncated, 0);
  }

  /** The totals of all services. */
  get totals(): Omit<ServiceRetries, 'service'> {
    const sum = (count: 'matching' | 'retried' | 'left') =>
      this.services.reduce((total, each) => total + each[count], 0);
    return { matching: sum('matching'), retried: sum('retried'), left: sum('left') };
  }

  /** At most `rate` messages per second. Rejects when `signal` aborts, between two requests. */
  async retryAll(
    messages: Pick<FailedMessages, 'retry'>,
    query: Query,
    { rate, signal, onProgress }: { rate: number; signal: AbortSignal; onProgress: () => void },
  ): Promise<void> {
    let room = rate;
    let lastRetryAt = 0;
    for (const { progress, failedBefore } of this.#runs) {
      // Terminates: each round retries messages, which then no longer match, or counts as one of BUSY_ROUNDS.
      for (let busyRounds = 0; progress.left > 0 && busyRounds < BUSY_ROUNDS; ) {
        if (room <= 0) {
          // A second after the last retry: no second exceeds the rate, however the server's responses are spread.
          await sleep(Math.max(0, lastRetryAt + 1_000 - performance.now()), undefined, { signal });
          room = rate;
        }
        signal.throwIfAborted();
        const limit = Math.min(MAX_RETRY_LIMIT, room);
        const { retried, left } = await messages.retry(progress.service, { ...query, failedBefore }, limit);
        progress.retried += retried;
        progress.left = left;
        onProgress();
        if (retried > 0) {
          room -= retried;
          lastRetryAt = performance.now();
        } else if (left > 0) {
          busyRounds++;
          await sleep(BUSY_MS, undefined, { signal });
        }
      }
    }
    signal.throwIfAborted();
  }
}
