// Waits for a database that is away.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { backoff } from '../runtime/backoff.ts';
import { Overloaded } from './group-commit.ts';
import { DatabaseUnavailable } from './port.ts';

const BASE_MS = 100;
const MAX_MS = 5_000;

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
      await delay(backoff(failures, BASE_MS, MAX_MS), undefined, { signal });
    }
  }
}

export const isUnavailable = (error: unknown): error is DatabaseUnavailable | Overloaded =>
  error instanceof DatabaseUnavailable || error instanceof Overloaded;
