// Delays between attempts.

/**
 * Milliseconds before the next attempt after `failures` failed ones: doubles from `baseMs` to `maxMs`, with "equal
 * jitter" (half fixed, half random), so that work that failed together is not retried together.
 */
export function backoff(failures: number, baseMs: number, maxMs: number, random = Math.random()): number {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(failures - 1, 30));
  return Math.round(ceiling / 2 + (random * ceiling) / 2);
}

/** Whether to log the `failures`-th failure in a row: the 1st, 2nd, 4th, 8th and so on. */
export const isLogged = (failures: number) => Number.isInteger(Math.log2(failures));
