// Decisions about a flash sale from a snapshot of it. Pure functions: times and random numbers are passed in.
import type { FlashSaleStatus, Rejection } from '../../contracts/flash-sales.ts';

/** A sale as its row was at one moment. */
export interface Snapshot {
  readonly status: FlashSaleStatus;
  readonly remaining: number;
  readonly queued: number;
  readonly queueCap: number;
  readonly drainPerSecond: number;
  /** Time until it opens, in milliseconds; 0 or less once it is open. */
  readonly opensInMs: number;
}

/** The age from which on a snapshot no longer rejects. */
export const MAX_AGE_MS = 1_000;
/** A returned unit of a sale that is not open is noticed after this time. */
const CLOSED_FRESH_MS = 250;
const OPEN_FRESH_MS = 100;
const OPEN_FRESH_MIN_MS = 10;
/** Without requests, a snapshot is dropped after this many times the time for which it is fresh. */
const IDLE_FACTOR = 4;
/** Lower bound for that: a pause of this process is no pause of its clients. */
const IDLE_MIN_MS = 250;
/** Extra attempts for free places, because some buyers hold a ticket already or send their request twice. */
const ATTEMPTS_PER_PLACE = 1.25;
const EXTRA_ATTEMPTS = 8;
/** Upper bound for Retry-After of a full queue. */
const MAX_RETRY_AFTER_SECONDS = 300;
/** Even a queue that drains at once spreads its buyers, over one to three seconds. */
const MIN_DRAIN_SECONDS = 2;

/**
 * How long a snapshot is used before it is read again, in milliseconds. Before the sale opens, until it opens at the
 * longest: otherwise the whole rush would reach the row. For an open sale, an eighth of the time in which the queue
 * drains: otherwise the queue would run empty while a web process still rejects because it was full.
 */
export function freshForMs({ status, queueCap, drainPerSecond, opensInMs }: Snapshot): number {
  if (status === 'scheduled') return Math.min(CLOSED_FRESH_MS, opensInMs);
  if (status !== 'open') return CLOSED_FRESH_MS;
  return Math.max(OPEN_FRESH_MIN_MS, Math.min(OPEN_FRESH_MS, (queueCap / drainPerSecond) * 125));
}

/** How long a snapshot is kept without a request, in milliseconds. */
export function keptForMs(snapshot: Snapshot): number {
  return Math.min(MAX_AGE_MS, Math.max(IDLE_MIN_MS, IDLE_FACTOR * freshForMs(snapshot)));
}

/** How many newcomers the snapshot lets through to the row: about as many as there are free places in the queue. */
export function attemptsFor({ queueCap, queued }: Snapshot): number {
  const places = queueCap - queued;
  return places > 0 ? Math.ceil(places * ATTEMPTS_PER_PLACE) + EXTRA_ATTEMPTS : 0;
}

/**
 * Why a snapshot of this age rejects a newcomer; undefined if the row has to decide. `attemptsLeft`: how many of
 * `attemptsFor` are left. While the remaining units fit into the queue, only the row rejects: with `sold-out`, after
 * which a buyer does not try again, so a guess from memory is not enough.
 */
export function rejectionOf(
  { status, remaining, queued, queueCap, opensInMs }: Snapshot,
  ageMs: number,
  attemptsLeft: number,
): Rejection | undefined {
  if (ageMs >= MAX_AGE_MS) return undefined;
  if (status === 'closed') return 'not-open';
  if (status === 'scheduled') return ageMs < opensInMs ? 'not-open' : undefined;
  if (status === 'sold-out') return 'sold-out';
  if (remaining <= queueCap - queued) return undefined;
  return attemptsLeft > 0 ? undefined : 'queue-full';
}

/**
 * Whole seconds until another attempt is worthwhile; undefined if that is unknown. For a full queue: half to one and a
 * half times the time in which it drains, so that buyers who were rejected together do not return together. For a sale
 * that is not open yet: when it opens, or up to three seconds later. `random` is from 0 to 1.
 */
export function retryAfterSeconds(
  rejection: Rejection,
  { status, queueCap, drainPerSecond, opensInMs }: Snapshot,
  random: number,
): number | undefined {
  if (rejection === 'not-open') {
    // A sale that is open by now has opened after it rejected.
    return status === 'closed' ? undefined : Math.max(1, Math.ceil(opensInMs / 1_000 + 3 * random));
  }
  if (rejection === 'sold-out') return undefined;
  const drainSeconds = Math.max(MIN_DRAIN_SECONDS, queueCap / drainPerSecond);
  return Math.min(MAX_RETRY_AFTER_SECONDS, Math.ceil(drainSeconds * (0.5 + random)));
}
