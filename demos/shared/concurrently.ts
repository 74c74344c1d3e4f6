// Bounded concurrency.
import { setMaxListeners } from 'node:events';

/**
 * Runs `work` for every item, at most `limit` at a time, started in the order of the items. When one rejects or
 * `signal` aborts, the signal passed to the others aborts and no further item is started. Rejects with the first error
 * once all have ended.
 */
export async function concurrently<T>(
  items: Iterable<T>,
  limit: number,
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  setMaxListeners(0, either); // each of `limit` workers adds one or two listeners
  const errors: unknown[] = [];
  const remaining = items[Symbol.iterator]();
  const worker = async () => {
    try {
      for (let next = remaining.next(); !next.done && !either.aborted; next = remaining.next())
        await work(next.value, either);
    } catch (error) {
      errors.push(error);
      failed.abort();
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
  signal.throwIfAborted();
  if (errors.length > 0) throw errors[0];
}
