// What a process remembers of a sale for a moment. It only ever rejects, and only newcomers: whoever may have a ticket is
// asked about, and nobody is admitted without the row.
//
// It is looked at anew while it is in use, well before it is too old: if it ran out first, the whole flood would go to
// the row until it is back. Where nobody asked for a while it is forgotten: the first who come, all at once, would be
// rejected for what was true before. When places are free, about as many newcomers are let through to ask for them.
import type { FlashSaleStatus, Rejection } from '../../contracts/flash-sales.ts';

/** A sale as it was a moment ago. */
export interface Seen {
  readonly status: FlashSaleStatus;
  readonly remaining: number;
  readonly queued: number;
  readonly queueCap: number;
  readonly drainPerSecond: number;
  /** Until it opens, in milliseconds; 0 or less once it has. */
  readonly opensInMs: number;
}

/** What is older is never believed. */
export const TRUSTED_MS = 1_000;
/** Where nobody asks, it is forgotten after so many times as long as it is fresh. */
const KEPT_TIMES = 4;
/** Not before this: a pause of the process is no pause of its clients. */
const KEPT_MIN_MS = 250;
/** While there is nothing to buy: a unit that comes back is noticed after this. */
const CLOSED_FRESH_MS = 250;
const OPEN_FRESH_MS = 100;
const OPEN_FRESH_MIN_MS = 10;
/** Some who are let through have a ticket already, or ask twice. */
const SPARE_SHARE = 1.25;
const SPARE = 8;

/**
 * How long it is before the sale is looked at again, in milliseconds. Of an open one, an eighth of the time in which its
 * queue drains: with a short queue the shop would otherwise idle while its gateway still says that it is full.
 */
export function freshForMs({ status, queueCap, drainPerSecond }: Seen): number {
  if (status !== 'open') return CLOSED_FRESH_MS;
  return Math.max(OPEN_FRESH_MIN_MS, Math.min(OPEN_FRESH_MS, (queueCap / drainPerSecond) * 125));
}

/** How long nobody may have asked for what was seen to be believed, in milliseconds. */
export function keptForMs(seen: Seen): number {
  return Math.min(TRUSTED_MS, Math.max(KEPT_MIN_MS, KEPT_TIMES * freshForMs(seen)));
}

export class Hint {
  readonly seen: Seen;
  readonly #at: number;
  readonly #freshForMs: number;
  /** How many more newcomers may ask for a place in the queue. */
  #asking: number;

  /** `at`: when it was seen, or before. All times are in milliseconds, of any one monotonic clock. */
  constructor(seen: Seen, at: number) {
    this.seen = seen;
    this.#at = at;
    this.#freshForMs = freshForMs(seen);
    const places = seen.queueCap - seen.queued;
    this.#asking = places > 0 ? Math.ceil(places * SPARE_SHARE) + SPARE : 0;
  }

  /** Whether it is time to look at the sale again. */
  isStale(now: number): boolean {
    return now - this.#at >= this.#freshForMs;
  }

  /** What a newcomer is told; undefined: to ask the row. */
  rejection(now: number): Rejection | undefined {
    const age = now - this.#at;
    const { status, remaining, queued, queueCap, opensInMs } = this.seen;
    if (age >= TRUSTED_MS) return undefined;
    if (status === 'closed') return 'not-open';
    if (status === 'scheduled') return age < opensInMs ? 'not-open' : undefined;
    if (status === 'sold-out') return 'sold-out';
    // That the last units are sold is for the row to say: unlike a full queue, it sends people home.
    if (remaining <= queueCap - queued) return undefined;
    if (this.#asking === 0) return 'queue-full';
    this.#asking--;
    return undefined;
  }
}
