// A run of retries: retries the failed messages that arrived before it began, service by service, at a bounded rate, and
// then waits for their outcomes. The server knows the run by its id and retries no message twice for it.
import { setTimeout as sleep } from 'node:timers/promises';
import { v7 as uuidv7 } from 'uuid';
import { MAX_RETRY_LIMIT, type RetryPreview, type RetryProgress } from '../../contracts/operations.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { FailedMessages, RetryFilter } from './client.ts';

/**
 * Messages that are being handled are skipped, and retried after this pause. The run gives up once none was free for
 * MAX_BUSY_MS, which exceeds the default lease of an attempt that never ends (LEASE_MS).
 */
const BUSY_MS = 200;
const MAX_BUSY_MS = 60_000;

/** Pause between two reads of the outcomes, at first and at most: it grows while nothing changes. */
const POLL_MS = 100;
const MAX_POLL_MS = 1_000;

export interface ServiceRetries extends Omit<RetryProgress, 'waiting'> {
  readonly service: ServiceName;
  /** Messages that matched when the run began. */
  readonly matching: number;
  retried: number;
  /** Not retried, by the last response. */
  left: number;
  succeeded: number;
  /** Dead again. */
  failed: number;
  /** Another run has retried them before they had an outcome. */
  takenOver: number;
}

type Totals = Omit<ServiceRetries, 'service'>;

interface Following {
  readonly signal: AbortSignal;
  /** Called with the number of messages that are done with. */
  readonly onProgress: (done: number) => void;
}

/** A run of retries and its progress. */
export class RetryRun {
  readonly id: string = uuidv7();
  readonly services: readonly Readonly<ServiceRetries>[];
  /** Messages that match and cannot be retried. */
  readonly truncated: number;
  readonly #runs: readonly { readonly progress: ServiceRetries; readonly asOf: string }[];

  constructor(previews: ReadonlyMap<ServiceName, RetryPreview>) {
    this.#runs = Array.from(previews, ([service, { matching, asOf }]) => ({
      progress: { service, matching, retried: 0, left: matching, succeeded: 0, failed: 0, takenOver: 0 },
      asOf,
    }));
    this.services = this.#runs.map(({ progress }) => progress);
    this.truncated = [...previews.values()].reduce((sum, { truncated }) => sum + truncated, 0);
  }

  /** The run that retries one message, which the caller requests. */
  static ofOne(service: ServiceName): RetryRun {
    const run = new RetryRun(new Map([[service, { matching: 1, truncated: 0, asOf: '' }]]));
    for (const { progress } of run.#runs) Object.assign(progress, { retried: 1, left: 0 });
    return run;
  }

  /** The totals of all services. */
  get totals(): Readonly<Totals> {
    const sum = (count: keyof Totals) => this.services.reduce((total, each) => total + each[count], 0);
    return {
      matching: sum('matching'),
      retried: sum('retried'),
      left: sum('left'),
      succeeded: sum('succeeded'),
      failed: sum('failed'),
      takenOver: sum('takenOver'),
    };
  }

  /** At most `rate` messages per second. Rejects when `signal` aborts, between two requests. */
  async retryAll(
    messages: Pick<FailedMessages, 'retry'>,
    filter: RetryFilter,
    { rate, signal, onProgress }: Following & { readonly rate: number },
  ): Promise<void> {
    let room = rate;
    let lastRetryAt = 0;
    for (const { progress, asOf } of this.#runs) {
      // Terminates: each round retries messages, which then no longer match, or adds to busyMs.
      for (let busyMs = 0; progress.left > 0 && busyMs < MAX_BUSY_MS; ) {
        if (room <= 0) {
          // A second after the last retry: no second exceeds the rate, however the server's responses are spread.
          await sleep(Math.max(0, lastRetryAt + 1_000 - performance.now()), undefined, { signal });
          room = rate;
        }
        signal.throwIfAborted();
        const limit = Math.min(MAX_RETRY_LIMIT, room);
        const { retried, left } = await messages.retry(progress.service, { ...filter, run: this.id, asOf }, limit);
        progress.retried += retried;
        progress.left = left;
        onProgress(this.totals.retried);
        if (retried > 0) {
          room -= retried;
          lastRetryAt = performance.now();
          busyMs = 0;
        } else if (left > 0) {
          busyMs += BUSY_MS;
          await sleep(BUSY_MS, undefined, { signal });
        }
      }
    }
    signal.throwIfAborted();
  }

  /** Resolves when each message has succeeded, is dead again, or was retried by another run. */
  async awaitOutcomes(messages: Pick<FailedMessages, 'progress'>, { signal, onProgress }: Following): Promise<void> {
    for (const { progress } of this.#runs) {
      for (let pauseMs = POLL_MS; progress.retried > outcomesOf(progress); ) {
        const before = outcomesOf(progress);
        const { waiting, succeeded, failed } = await messages.progress(progress.service, this.id);
        const takenOver = Math.max(0, progress.retried - waiting - succeeded - failed);
        Object.assign(progress, { succeeded, failed, takenOver });
        const after = outcomesOf(progress);
        onProgress(this.services.reduce((total, each) => total + outcomesOf(each), 0));
        if (after === progress.retried) break;
        pauseMs = after > before ? POLL_MS : Math.min(2 * pauseMs, MAX_POLL_MS);
        await sleep(pauseMs, undefined, { signal });
      }
    }
  }
}

const outcomesOf = ({ succeeded, failed, takenOver }: Readonly<ServiceRetries>) => succeeded + failed + takenOver;
