// Group commit: requests that arrive while a statement is in flight share the next one. One statement is in flight, or
// two, so batches grow with the load: a single request is a batch of its own, thousands share a few large batches.
import { ArrivalRate } from '../runtime/arrival-rate.ts';
import { DatabaseUnavailable, Overloaded } from './port.ts';
import { retryConflicts } from './statements.ts';

export interface GroupCommitOptions<In, Out> {
  /** Commits a batch and resolves with one result per item, in the same order. Commits nothing if it throws. */
  readonly run: (batch: In[]) => Promise<Out[]>;
  /** Batches are sorted by it, because two processes that lock the same keys in opposite order deadlock. */
  readonly key: (item: In) => string;
  readonly maxBatch: number;
  /** Items that may wait; submit() rejects a further one with `Overloaded`. */
  readonly maxWaiting: number;
  /**
   * How long to gather items after a batch while they come steadily, because a transaction costs about the same for
   * ten as for fifty. Without `waitMs`, a lone item does not wait.
   */
  readonly gatherMs?: number;
  /** Number of waiting items that ends the gathering early. Default: `maxBatch`. */
  readonly gatherUntil?: number;
  /**
   * While a statement is in flight, this many waiting items start a second one: the next statement is then prepared
   * while the database works. Default: none, for batches that lock the same row.
   */
  readonly secondFrom?: number;
  /** How long the first item waits for others. Default: until the current turn of the event loop ends. */
  readonly waitMs?: number;
}

interface Waiting<In, Out> {
  readonly item: In;
  readonly key: string;
  readonly resolve: (result: Out) => void;
  readonly reject: (error: unknown) => void;
}

export class GroupCommit<In, Out> {
  readonly #options: GroupCommitOptions<In, Out>;
  #waiting: Waiting<In, Out>[] = [];
  #running = false;
  #secondRunning = false;
  readonly #arrivals = new ArrivalRate();
  #endGathering: () => void = () => {};

  constructor(options: GroupCommitOptions<In, Out>) {
    this.#options = options;
  }

  /**
   * Resolves with the item's result once it is committed. Rejects with Overloaded, with DatabaseUnavailable, or with
   * the error of this item, never that of another item.
   */
  submit(item: In): Promise<Out> {
    if (this.#waiting.length >= this.#options.maxWaiting) {
      return Promise.reject(new Overloaded(this.#options.maxWaiting));
    }
    this.#arrivals.add();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, key: this.#options.key(item), resolve, reject });
      if (this.#waiting.length >= this.#gatherUntil) this.#endGathering();
      if (!this.#running) {
        this.#running = true;
        // After all sockets of this turn are read, so that their requests share a batch.
        const { waitMs } = this.#options;
        if (waitMs === undefined) setImmediate(() => void this.#drain());
        else setTimeout(() => void this.#drain(), waitMs);
      } else if (!this.#secondRunning && this.#waiting.length >= this.#secondFrom) {
        this.#secondRunning = true;
        setImmediate(() => void this.#drainSecond());
      }
    });
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      await this.#commitNext();
      const { gatherMs = 0 } = this.#options;
      if (gatherMs > 0 && this.#waiting.length < this.#gatherUntil && this.#arrivals.steady)
        await this.#gather(gatherMs);
    }
    this.#running = false;
  }

  async #drainSecond(): Promise<void> {
    while (this.#waiting.length >= this.#secondFrom) await this.#commitNext();
    this.#secondRunning = false;
  }

  async #commitNext(): Promise<void> {
    const batch = this.#waiting.splice(0, this.#options.maxBatch);
    batch.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    try {
      await this.#commit(batch);
    } catch (error) {
      // The database is unavailable, and each waiting item would run into a timeout of its own.
      rejectAll([...batch, ...this.#waiting.splice(0)], error);
    }
  }

  get #secondFrom(): number {
    return this.#options.secondFrom ?? Number.POSITIVE_INFINITY;
  }

  get #gatherUntil(): number {
    return this.#options.gatherUntil ?? this.#options.maxBatch;
  }

  #gather(forMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#endGathering(), forMs);
      this.#endGathering = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Settles the items of a batch. Rejects with DatabaseUnavailable, and then some items are not settled. */
  async #commit(batch: readonly Waiting<In, Out>[]): Promise<void> {
    const isAlone = batch.length === 1;
    const run = () => this.#options.run(batch.map(({ item }) => item));
    let results: Out[];
    try {
      results = await (isAlone ? retryConflicts(run) : run());
    } catch (error) {
      if (error instanceof DatabaseUnavailable) throw error;
      if (isAlone) return rejectAll(batch, error);
      // Alone, a bad row does not fail its neighbours, and a conflict is retried.
      for (const waiting of batch) await this.#commit([waiting]);
      return;
    }
    // The batch is committed and must not run again, but its results cannot be matched to its items.
    if (results.length !== batch.length)
      return rejectAll(batch, new Error(`a batch of ${batch.length} was committed with ${results.length} results`));
    for (const [index, result] of results.entries()) batch[index]?.resolve(result);
  }
}

/** Does not change items that are already settled. */
function rejectAll(batch: readonly Pick<Waiting<never, never>, 'reject'>[], error: unknown): void {
  for (const { reject } of batch) reject(error);
}
