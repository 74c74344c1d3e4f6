// Delays between attempts.

/**
 * The delay before the attempt after `failures` failed ones, in milliseconds: doubles from `baseMs` to `maxMs`, with
 * "equal jitter" (half of it fixed, half random), so that what failed together does not come back together.
 */
export function backoff(failures: number, baseMs: number, maxMs: number, random = Math.random()): number {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(failures - 1, 30));
  return Math.round(ceiling / 2 + (random * ceiling) / 2);
}

/** Whether the `failures`-th failure in a row is worth a line in the log: the 1st, 2nd, 4th, 8th, and so on. */
export const isLogged = (failures: number) => Number.isInteger(Math.log2(failures));
