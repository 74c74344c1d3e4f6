// Retries the messages that failed before the run began, service by service, at a bounded rate. A message that fails
// again during the run is not retried again: the database's time at the beginning separates the two.
import { setTimeout as sleep } from 'node:timers/promises';
import { MAX_RETRY_LIMIT, type RetryPreview } from '../../contracts/operations.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { FailedMessages, Query } from './client.ts';

/** Messages that are being handled are skipped, and retried after this pause, at most this many times. */
const BUSY_MS = 200;
const BUSY_ROUNDS = 25;

export interface ServiceRetries {
  readonly service: ServiceName;
  /** When the run began. */
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

  /** Of all services. */
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
    const pace = new Pace(rate);
    for (const { progress, failedBefore } of this.#runs) {
      // Terminates: each round retries messages, which then no longer match, or counts as one of BUSY_ROUNDS.
      for (let busyRounds = 0; progress.left > 0 && busyRounds < BUSY_ROUNDS; ) {
        const limit = Math.min(MAX_RETRY_LIMIT, await pace.room(signal));
        signal.throwIfAborted();
        const { retried, left } = await messages.retry(progress.service, { ...query, failedBefore }, limit);
        pace.use(retried);
        progress.retried += retried;
        progress.left = left;
        onProgress();
        if (retried > 0 || left === 0) continue;
        busyRounds++;
        await sleep(BUSY_MS, undefined, { signal });
      }
    }
    signal.throwIfAborted();
  }
}

const WINDOW_MS = 1_000;

/** Limits a rate per second. */
class Pace {
  readonly #perSecond: number;
  #room: number;
  #lastUseAt = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#room = perSecond;
  }

  /**
   * How many are allowed now, at least one. If the current second is used up, waits until a whole second has passed
   * since the last use: no second exceeds the rate, however the server's responses are spread. Rejects when `signal`
   * aborts.
   */
  async room(signal: AbortSignal): Promise<number> {
    if (this.#room <= 0) {
      await sleep(Math.max(0, this.#lastUseAt + WINDOW_MS - performance.now()), undefined, { signal });
      this.#room = this.#perSecond;
    }
    return this.#room;
  }

  /** Records that `done` were done just now. */
  use(done: number): void {
    if (done === 0) return;
    this.#room -= done;
    this.#lastUseAt = performance.now();
  }
}
