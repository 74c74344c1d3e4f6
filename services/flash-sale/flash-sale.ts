// What a flash sale is, and the decisions about it that no row has to take. Pure: times and chances are handed in.
import type { FlashSaleStatus, Refusal } from '../../contracts/flash-sales.ts';

/** A sale as it was a moment ago. */
export interface Seen {
  readonly status: FlashSaleStatus;
  readonly queued: number;
  readonly queueCap: number;
  readonly drainPerSecond: number;
  /** Until it opens, in milliseconds. */
  readonly opensInMs: number;
}

/** What a newcomer would have been told; undefined: that there is room. */
export function refusalOf({ status, queued, queueCap }: Seen): Refusal | undefined {
  if (status === 'scheduled' || status === 'closed') return 'not-open';
  if (status === 'sold-out') return 'sold-out';
  return queued >= queueCap ? 'queue-full' : undefined;
}

/** A refusal is repeated without asking for this long at the most, so that a unit that comes back is soon for sale. */
const HINT_MS = 500;
const FULL_HINT_MS = 250;

/**
 * How long what was seen may be repeated to newcomers, in milliseconds. A full queue only for the time in which a
 * quarter of it drains: with a short queue the shop would otherwise idle while its gateway still says that it is full.
 */
export function validForMs({ status, queueCap, drainPerSecond, opensInMs }: Seen): number {
  if (status === 'scheduled') return Math.min(HINT_MS, opensInMs);
  if (status === 'open') return Math.min(FULL_HINT_MS, (queueCap / drainPerSecond) * 250);
  return HINT_MS;
}

/** Nobody is sent away for longer. */
const MAX_RETRY_AFTER_SECONDS = 300;

/**
 * Whole seconds until it is worth coming back; undefined where nobody knows. To a full queue: about the time in which it
 * drains, spread over half to one and a half of it, so that those who were refused together do not come back together.
 * To a sale that is not open yet: when it opens, or within the three seconds after. `chance` is from 0 to 1.
 */
export function retryAfterSeconds(
  refusal: Refusal,
  { status, queued, drainPerSecond, opensInMs }: Seen,
  chance: number,
): number | undefined {
  if (refusal === 'not-open') {
    // Seen open, it has opened since it refused.
    return status === 'closed' ? undefined : Math.max(1, Math.ceil(opensInMs / 1_000 + 3 * chance));
  }
  if (refusal === 'sold-out') return undefined;
  return Math.min(MAX_RETRY_AFTER_SECONDS, Math.max(1, Math.ceil((queued / drainPerSecond) * (0.5 + chance))));
}
