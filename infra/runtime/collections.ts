// Collections that JavaScript, or Node 20, lacks.

/** Map.groupBy, which Node 20 lacks. */
export function groupBy<K, V>(items: Iterable<V>, keyOf: (item: V) => K): Map<K, V[]> {
  const groups = new Map<K, V[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
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
