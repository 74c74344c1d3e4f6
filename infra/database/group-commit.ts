// Group commit: requests that arrive while a statement is on its way share the next one. One at a time, so that batches
// grow with the load: with one request a batch of one at once, with thousands a few large ones.
import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseUnavailable } from './port.ts';
import { retryConflicts } from './retry-conflicts.ts';

export class Overloaded extends Error {
  readonly code = 'overloaded';
  constructor(limit: number) {
    super(`more than ${limit} requests are waiting for the database`);
    this.name = 'Overloaded';
  }
}

export interface GroupCommitOptions<In, Out> {
  /** Does the work for a batch, durably, and answers in its order, one result each. Leaves nothing behind if it throws. */
  readonly run: (batch: In[]) => Promise<Out[]>;
  /** What the batch is sorted by: two processes whose batches take the same keys in opposite order deadlock. */
  readonly key: (item: In) => string;
  readonly maxBatch: number;
  /** Items that may wait; a further one is rejected with `Overloaded`. */
  readonly maxWaiting: number;
  /**
   * How long to gather before the next batch, once one was large: what follows a large batch is many more items, and a
   * transaction costs about the same for ten as for fifty. A small batch is followed at once.
   */
  readonly gatherMs?: number;
  /** How long the first item waits for others, where nobody is in a hurry. Default: no longer than for the same event. */
  readonly waitMs?: number;
}

interface Waiting<In, Out> {
  readonly item: In;
  readonly key: string;
  readonly resolve: (result: Out) => void;
  readonly reject: (error: unknown) => void;
}

/** Items from which on a batch counts as large. */
const LARGE_BATCH = 10;

export class GroupCommit<In, Out> {
  readonly #options: GroupCommitOptions<In, Out>;
  #waiting: Waiting<In, Out>[] = [];
  #running = false;

  constructor(options: GroupCommitOptions<In, Out>) {
    this.#options = options;
  }

  /** Resolves with the item's result once it is committed; rejects with what went wrong for this item alone. */
  submit(item: In): Promise<Out> {
    if (this.#waiting.length >= this.#options.maxWaiting) {
      return Promise.reject(new Overloaded(this.#options.maxWaiting));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, key: this.#options.key(item), resolve, reject });
      if (!this.#running) {
        this.#running = true;
        // Requests that were read from the same socket event get into the same batch.
        const { waitMs } = this.#options;
        if (waitMs === undefined) setImmediate(() => void this.#drain());
        else setTimeout(() => void this.#drain(), waitMs);
      }
    });
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#options.maxBatch);
      batch.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
      try {
        await this.#commit(batch);
      } catch (error) {
        // The database is away: the rest of the batch and those behind would each wait for a time-out of their own.
        rejectAll([...batch, ...this.#waiting.splice(0)], error);
      }
      const { gatherMs = 0, maxBatch } = this.#options;
      if (gatherMs > 0 && batch.length >= LARGE_BATCH && this.#waiting.length < maxBatch) await delay(gatherMs);
    }
    this.#running = false;
  }

  /** Settles the items of a batch. Rejects with DatabaseUnavailable: those not settled by then cannot be committed now. */
  async #commit(batch: readonly Waiting<In, Out>[]): Promise<void> {
    const isAlone = batch.length === 1;
    const run = () => this.#options.run(batch.map(({ item }) => item));
    let results: Out[];
    try {
      results = await (isAlone ? retryConflicts(run) : run());
    } catch (error) {
      if (error instanceof DatabaseUnavailable) throw error;
      if (isAlone) return rejectAll(batch, error);
      // A bad row, or a conflict: alone, a bad row fails alone, and a conflict is retried.
      for (const waiting of batch) await this.#commit([waiting]);
      return;
    }
    // It is committed, so it must not run again; but nobody knows which result belongs to which item.
    if (results.length !== batch.length)
      return rejectAll(batch, new Error(`a batch of ${batch.length} was committed with ${results.length} results`));
    for (const [index, result] of results.entries()) batch[index]?.resolve(result);
  }
}

/** Those that are settled already stay as they are. */
function rejectAll(batch: readonly Pick<Waiting<never, never>, 'reject'>[], error: unknown): void {
  for (const { reject } of batch) reject(error);
}
