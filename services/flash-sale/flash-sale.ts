// What a flash sale is, and the decisions about it that no row has to take. Pure: times and chances are handed in.
import type { Refusal } from '../../contracts/flash-sales.ts';
import type { Seen } from './hint.ts';

/** Nobody is sent away for longer. */
const MAX_RETRY_AFTER_SECONDS = 300;

/**
 * Whole seconds until it is worth coming back; undefined where nobody knows. To a full queue: about the time in which it
 * drains, spread over half to one and a half of it, so that those who were refused together do not come back together.
 * To a sale that is not open yet: when it opens, or within the three seconds after. `chance` is from 0 to 1.
 */
export function retryAfterSeconds(
  refusal: Refusal,
  { status, queueCap, drainPerSecond, opensInMs }: Seen,
  chance: number,
): number | undefined {
  if (refusal === 'not-open') {
    // Seen open, it has opened since it refused.
    return status === 'closed' ? undefined : Math.max(1, Math.ceil(opensInMs / 1_000 + 3 * chance));
  }
  if (refusal === 'sold-out') return undefined;
  return Math.min(MAX_RETRY_AFTER_SECONDS, Math.max(1, Math.ceil((queueCap / drainPerSecond) * (0.5 + chance))));
}
