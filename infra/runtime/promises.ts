// Promise helpers.

/** Promise.withResolvers, which Node 20 lacks. */
export function deferred() {
  let resolve: () => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** Settles like `promise`, or rejects with `late()` after `timeoutMs`. */
export function within<T>(
  timeoutMs: number,
  promise: Promise<T>,
  late = () => new Error(`no answer within ${timeoutMs} ms`),
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late()), timeoutMs);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

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
