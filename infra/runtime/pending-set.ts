/** Promises that have not settled yet, so that a stop can wait for them. */
export class PendingSet {
  readonly #pending = new Set<Promise<unknown>>();

  get size(): number {
    return this.#pending.size;
  }

  /** Adds a promise, and returns it. */
  add<T>(promise: Promise<T>): Promise<T> {
    const remove = () => this.#pending.delete(promise);
    this.#pending.add(promise);
    promise.then(remove, remove);
    return promise;
  }

  /** Resolves when every promise that was added before this call has settled. Never rejects. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#pending);
  }
}
