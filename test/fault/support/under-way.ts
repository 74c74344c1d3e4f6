// The requests of clients that run in the background of a fault test.

/** Unlike PendingSet, which never rejects, it passes the first failure on to the test that waits. */
export class UnderWay {
  readonly #promises = new Set<Promise<unknown>>();
  #failures: unknown[] = [];

  get size(): number {
    return this.#promises.size;
  }

  add(promise: Promise<unknown>): void {
    const settled = promise.catch((error) => this.#failures.push(error)).finally(() => this.#promises.delete(settled));
    this.#promises.add(settled);
  }

  /** Resolves when all have settled, including those added meanwhile. Rejects if one of them ever failed. */
  async settled(): Promise<void> {
    while (this.#promises.size > 0) await Promise.all(this.#promises);
    if (this.#failures.length > 0) throw this.#failures[0];
  }
}
