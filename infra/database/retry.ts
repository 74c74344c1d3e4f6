// Retries of work that failed through no fault of its own: it conflicted with concurrent transactions, or the database is
// away.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { backoff } from '../runtime/backoff.ts';
import { ConcurrentUpdate, DatabaseUnavailable, Overloaded } from './port.ts';

/** Deadlock and serialization failure (SQLSTATE codes: PostgreSQL, appendix A). */
const CONFLICTS: readonly unknown[] = ['40P01', '40001'];
const CONFLICT_ATTEMPTS = 5;
/** Short, because the other transaction needs milliseconds; with jitter, so that the same two do not conflict again. */
const CONFLICT_BASE_MS = 10;
const CONFLICT_MAX_MS = 200;

const UNAVAILABLE_BASE_MS = 100;
const UNAVAILABLE_MAX_MS = 5_000;

/**
 * Retries `work` after a deadlock or a serialization failure: PostgreSQL rolls one of the transactions back, and the same
 * work may succeed a moment later. After the last attempt it rejects with ConcurrentUpdate, which an outer call does not
 * retry, so that attempts do not multiply.
 */
export async function retryConflicts<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && CONFLICTS.includes(error.code))) throw error;
      if (attempt === CONFLICT_ATTEMPTS) throw new ConcurrentUpdate(error);
      await delay(backoff(attempt, CONFLICT_BASE_MS, CONFLICT_MAX_MS));
    }
  }
}

/** Runs `work` again until the database is available for it. Rejects with its error once `signal` is aborted. */
export async function retryUnavailable<T>(
  work: () => Promise<T>,
  { signal, log }: { readonly signal: AbortSignal; readonly log: Logger },
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await work();
    } catch (error) {
      if (!isUnavailable(error) || signal.aborted) throw error;
      if (failures === 1) log.warn({ error: error.message }, 'waiting for the database');
      await delay(backoff(failures, UNAVAILABLE_BASE_MS, UNAVAILABLE_MAX_MS), undefined, { signal });
    }
  }
}

export const isUnavailable = (error: unknown): error is DatabaseUnavailable | Overloaded =>
  error instanceof DatabaseUnavailable || error instanceof Overloaded;
