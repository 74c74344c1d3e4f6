// Waits until placed orders are completed, by polling the open ones in rounds.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Order } from '../../contracts/orders.ts';
import { concurrently } from '../shared/concurrently.ts';
import { CliError } from '../shared/errors.ts';
import { completedAfterMs, readOrder } from '../shared/orders.ts';
import type { PlaceOptions } from './place.ts';

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1_000;

/** Tracks placed orders: which are completed, how long that took, and which are still open. */
export class Follower {
  /** By order: its status, or why it could not be read. */
  readonly incomplete = new Map<string, string>();
  /** From each completed order's acceptance to its last step, in milliseconds by the database's clock. */
  readonly completedAfterMs: number[] = [];

  /** Records a placed order, or its new state. */
  record(order: Order): void {
    this.incomplete.delete(order.id);
    if (order.status === 'completed') this.completedAfterMs.push(completedAfterMs(order));
    else this.incomplete.set(order.id, order.status);
  }

  /** The ids of those that may still complete. */
  #open(): string[] {
    return [...this.incomplete].flatMap(([id, state]) => (state === 'cancelled' ? [] : id));
  }

  /** Resolves when all are completed or cancelled, or after `timeoutMs`. Rejects only when `signal` aborts. */
  async wait(
    { http, concurrency, signal }: Pick<PlaceOptions, 'http' | 'concurrency' | 'signal'>,
    timeoutMs: number,
    onProgress: () => void,
  ): Promise<void> {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    try {
      for (let pause = FIRST_PAUSE_MS; this.#open().length > 0; pause = Math.min(LONGEST_PAUSE_MS, pause * 1.5)) {
        await concurrently(this.#open(), concurrency, deadline, async (id, either) => {
          try {
            this.record(await readOrder(http, id, either));
          } catch (error) {
            if (!(error instanceof CliError)) throw error;
            this.incomplete.set(id, error.message); // the next round polls it again
          }
          onProgress();
        });
        if (this.#open().length > 0) await sleep(pause, undefined, { signal: deadline });
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!deadline.aborted) throw error;
    }
  }
}
