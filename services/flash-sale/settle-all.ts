/**
 * Does `work` for every item, all at the same time, so that one that hangs or fails delays no other. Rejects if it fails
 * for every item; if it fails for some, calls `warn` and resolves with the results of the others.
 */
export async function settleAll<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
  warn: (failed: number, reason: unknown) => void,
): Promise<R[]> {
  const results = await Promise.allSettled(items.map(work));
  const failed = results.filter((result) => result.status === 'rejected');
  if (failed.length > 0) {
    if (failed.length === items.length) throw failed[0]?.reason;
    warn(failed.length, failed[0]?.reason);
  }
  return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
}
