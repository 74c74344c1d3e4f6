// What a flash sale is, and the decisions about it that no row has to take. Pure: times and chances are handed in.
import type { Rejection } from '../../contracts/flash-sales.ts';
import type { Seen } from './hint.ts';

/** Nobody is sent away from a full queue for longer; from one that drains at once, for one to three seconds. */
const MAX_RETRY_AFTER_SECONDS = 300;
const MIN_DRAINED_SECONDS = 2;

/**
 * Whole seconds until it is worth coming back; undefined where nobody knows. To a full queue: about the time in which it
 * drains, spread over half to one and a half of it, so that those who were rejected together do not come back together.
 * To a sale that is not open yet: when it opens, or within the three seconds after. `chance` is from 0 to 1.
 */
export function retryAfterSeconds(
  rejection: Rejection,
  { status, queueCap, drainPerSecond, opensInMs }: Seen,
  chance: number,
): number | undefined {
  if (rejection === 'not-open') {
    // Seen open, it has opened since it rejected.
    return status === 'closed' ? undefined : Math.max(1, Math.ceil(opensInMs / 1_000 + 3 * chance));
  }
  if (rejection === 'sold-out') return undefined;
  const drained = Math.max(MIN_DRAINED_SECONDS, queueCap / drainPerSecond);
  return Math.min(MAX_RETRY_AFTER_SECONDS, Math.ceil(drained * (0.5 + chance)));
}
