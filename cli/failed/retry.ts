// Retries what failed before the run began, service by service, at a bounded rate. What fails again meanwhile is not
// retried again: the database's time at the beginning tells the two apart.
import { setTimeout as sleep } from 'node:timers/promises';
import { MAX_RETRY_LIMIT, type RetryPreview } from '../../contracts/operations.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { FailedMessages, Query } from './client.ts';
import { Pace } from './pace.ts';

/** Messages that are being handled at the moment are passed over, and looked at again after this, so many times. */
const BUSY_MS = 200;
const BUSY_ROUNDS = 25;

export interface ServiceRetries {
  readonly service: ServiceName;
  /** Before the run began. */
  readonly matching: number;
  readonly retried: number;
  /** Not retried, as far as is known. */
  readonly left: number;
}

/** What is to be retried, and what became of it so far. */
export class RetryRun {
  readonly #services: Map<ServiceName, ServiceRetries>;
  readonly #asOf: Map<ServiceName, string>;
  /** Messages that match and cannot be retried. */
  readonly truncated: number;

  constructor(previews: ReadonlyMap<ServiceName, RetryPreview>) {
    const entries = [...previews];
    this.#asOf = new Map(entries.map(([service, { asOf }]) => [service, asOf]));
    this.truncated = sum(entries.map(([, { truncated }]) => truncated));
    this.#services = new Map(
      entries.map(([service, { matching }]) => [service, { service, matching, retried: 0, left: matching }]),
    );
  }

  get services(): ServiceRetries[] {
    return [...this.#services.values()];
  }

  get matching(): number {
    return sum(this.services.map(({ matching }) => matching));
  }

  get retried(): number {
    return sum(this.services.map(({ retried }) => retried));
  }

  get left(): number {
    return sum(this.services.map(({ left }) => left));
  }

  /** At most `rate` a second. Rejects when `signal` aborts, between two requests. */
  async retryAll(
    messages: Pick<FailedMessages, 'retry'>,
    query: Query,
    { rate, signal, onProgress }: { rate: number; signal: AbortSignal; onProgress: () => void },
  ): Promise<void> {
    const pace = new Pace(rate);
    for (const { service } of this.services) {
      const bounded = { ...query, failedBefore: this.#asOf.get(service) ?? '' };
      // Each round retries some, which then no longer match, or is one of BUSY_ROUNDS.
      for (let busyRounds = 0; ; ) {
        const before = this.#services.get(service);
        if (!before || before.left === 0 || busyRounds === BUSY_ROUNDS) break;
        const limit = Math.min(MAX_RETRY_LIMIT, await pace.room(signal));
        signal.throwIfAborted();
        const { retried, left } = await messages.retry(service, bounded, limit);
        pace.use(retried);
        this.#services.set(service, { ...before, retried: before.retried + retried, left });
        onProgress();
        if (retried > 0 || left === 0) continue;
        busyRounds++;
        await sleep(BUSY_MS, undefined, { signal });
      }
    }
    signal.throwIfAborted();
  }
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0);
