// Delays between attempts.

/**
 * The delay before the attempt after `failures` failed ones, in milliseconds: doubles from `baseMs` to `maxMs`, with
 * "equal jitter" (half of it fixed, half random), so that what failed together does not come back together.
 */
export function backoff(failures: number, baseMs: number, maxMs: number, random = Math.random()): number {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(failures - 1, 30));
  return Math.round(ceiling / 2 + (random * ceiling) / 2);
}
