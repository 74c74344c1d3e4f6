// Publishes with a bounded number of them in flight, first come, first served.
import { PendingSet } from '../runtime/pending-set.ts';
import { BusError } from './port.ts';

export interface PublishQueueOptions {
  /** Publishes in flight at a time. */
  readonly maxInFlight: number;
  /** Publishes in flight or waiting; more are rejected. */
  readonly maxPending: number;
  /** How long a publish may wait for its turn; without it, as long as those before it take. */
  readonly maxWaitMs?: number;
}

export class PublishQueue {
  readonly #options: PublishQueueOptions;
  readonly #pending = new PendingSet();
  readonly #waiting = new Set<() => void>();
  #inFlight = 0;

  constructor(options: PublishQueueOptions) {
    this.#options = options;
  }

  /** Settles as `publish` does, which is called in its turn. Rejects with a BusError if its turn does not come. */
  run(publish: () => Promise<void>): Promise<void> {
    const { maxPending } = this.#options;
    if (this.#pending.size >= maxPending)
      return Promise.reject(new BusError('rejected', `${maxPending} publishes are pending`));
    return this.#pending.add(this.#runInTurn(publish));
  }

  /** Resolves when every publish so far has settled. */
  idle(): Promise<void> {
    return this.#pending.settled();
  }

  async #runInTurn(publish: () => Promise<void>): Promise<void> {
    if (this.#inFlight < this.#options.maxInFlight) this.#inFlight++;
    else await this.#turn();
    try {
      await publish();
    } finally {
      this.#passOn();
    }
  }

  #turn(): Promise<void> {
    const { maxWaitMs } = this.#options;
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const begin = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#waiting.add(begin);
      if (maxWaitMs === undefined) return;
      timer = setTimeout(() => {
        this.#waiting.delete(begin);
        reject(new BusError('unavailable', `not sent to the MQTT broker within ${maxWaitMs} ms`));
      }, maxWaitMs);
    });
  }

  #passOn(): void {
    const [next] = this.#waiting;
    if (!next) {
      this.#inFlight--;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
