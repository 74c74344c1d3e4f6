// A buyer's reaction to an answer: come again, or leave.
import { backoff } from '../../infra/runtime/backoff.ts';
import type { PurchaseAnswer } from './purchases.ts';

/** What happened on one visit so far. */
export interface History {
  /** Times that the buyer came again because the queue was full. */
  readonly returned: number;
  /** Attempts in a row without a decision: no answer, or 503. */
  readonly failures: number;
}

/** The longest Retry-After that a buyer accepts; a longer one makes the buyer leave. */
const LONGEST_WAIT_MS = 30_000;
/** Buyers do not come back to the millisecond. */
const LATE_BY_UP_TO_MS = 500;
const NOT_OPEN_PAUSE_MS = 1_000;
/** A retry after a lost answer needs no patience: it is the same request. */
const MAX_FAILURES = 10;
const FAILURE_BASE_MS = 200;
const FAILURE_MAX_MS = 3_000;

/**
 * When the buyer comes again; undefined: never. All times are in milliseconds after the opening. `random` is at least 0
 * and below 1.
 */
export function nextVisit(
  answer: PurchaseAnswer,
  { patience }: { readonly patience: number },
  { history: { returned, failures }, arrivedMs, nowMs }: { history: History; arrivedMs: number; nowMs: number },
  random: number,
): { atMs: number; history: History } | undefined {
  const again = (afterMs: number) =>
    returned < patience && afterMs <= LONGEST_WAIT_MS
      ? { atMs: nowMs + afterMs + random * LATE_BY_UP_TO_MS, history: { returned: returned + 1, failures: 0 } }
      : undefined;
  const retry = (leastMs: number) =>
    failures < MAX_FAILURES
      ? {
          atMs: nowMs + Math.max(leastMs, backoff(failures + 1, FAILURE_BASE_MS, FAILURE_MAX_MS, random)),
          history: { returned, failures: failures + 1 },
        }
      : undefined;
  switch (answer.outcome) {
    case 'admitted':
    case 'already':
    case 'sold-out':
      return undefined;
    case 'not-open':
      // An early bird knows the time of the opening.
      return arrivedMs < 0
        ? { atMs: Math.max(0, nowMs) + random * LATE_BY_UP_TO_MS, history: { returned, failures: 0 } }
        : again(NOT_OPEN_PAUSE_MS);
    case 'queue-full':
      return again(answer.retryAfterMs ?? NOT_OPEN_PAUSE_MS);
    case 'overloaded':
      return retry(answer.retryAfterMs ?? 0);
    case 'error':
      return answer.lost ? retry(0) : undefined;
  }
}
