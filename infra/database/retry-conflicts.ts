// Transactions that run at the same time can get in each other's way. PostgreSQL then rolls one of them back as a whole,
// and the same work may succeed a moment later. SQLSTATE codes: PostgreSQL, appendix A.
import { setTimeout as delay } from 'node:timers/promises';
import { backoff } from '../runtime/backoff.ts';
import { ConcurrentUpdate } from './port.ts';

const ATTEMPTS = 5;
/** Short: the transaction that won needs milliseconds. With jitter, so that two losers do not meet again. */
const BASE_MS = 10;
const MAX_MS = 200;

/** Deadlock, serialization failure. */
const CONFLICTS: readonly unknown[] = ['40P01', '40001'];

/**
 * Runs `work` again after a deadlock or a serialization failure. After the last attempt it rejects with
 * ConcurrentUpdate, which is no conflict to an outer call: attempts do not multiply.
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
