// Concurrent transactions can conflict. PostgreSQL then rolls one of them back, and the same work may succeed a moment
// later. SQLSTATE codes: PostgreSQL, appendix A.
import { setTimeout as delay } from 'node:timers/promises';
import { backoff } from '../runtime/backoff.ts';
import { ConcurrentUpdate } from './port.ts';

const ATTEMPTS = 5;
/** Short, because the other transaction needs milliseconds; with jitter, so that the same two do not conflict again. */
const BASE_MS = 10;
const MAX_MS = 200;

/** Deadlock and serialization failure. */
const CONFLICTS: readonly unknown[] = ['40P01', '40001'];

/**
 * Retries `work` after a deadlock or a serialization failure. After the last attempt it rejects with ConcurrentUpdate,
 * which an outer call does not retry, so that attempts do not multiply.
 */
export async function retryConflicts<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isConflict(error)) throw error;
      if (attempt === ATTEMPTS) throw new ConcurrentUpdate(error);
      await delay(backoff(attempt, BASE_MS, MAX_MS));
    }
  }
}

const isConflict = (error: unknown) => error instanceof Error && 'code' in error && CONFLICTS.includes(error.code);
