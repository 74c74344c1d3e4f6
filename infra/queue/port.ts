// Queues that are drained at an even rate. They provide the rate, retries, and the takeover of jobs from a dead
// process, and nothing else. Jobs may be lost at any time: the caller keeps the truth in the database, adds missing
// jobs again, and makes the work of a job idempotent.
import type { Health } from '../runtime/health.ts';

export interface PacedQueueOptions {
  /** 1 to 60 characters of A-Z a-z 0-9 - _ */
  readonly name: string;
  /** 1 to 10,000, over all processes that drain the queue; evenly, not in one burst per second. */
  readonly perSecond: number;
  /** The work of a job. If it throws, the job is retried with backoff. May run twice for one id. */
  readonly work: (id: string) => Promise<void>;
  /** Called when the last attempt threw and the job is removed, not for jobs that stalled too often. Must not throw. */
  readonly onLastFailure: (id: string, error: Error) => void;
  /** Removes every job first: see clear(). */
  readonly cleared?: boolean;
}

/** A queue that this process drains, from open() until close(). */
export interface PacedQueue {
  /**
   * Adds a job for each id, in this order, except for ids whose job is waiting or running. Rejects soon if the queue's
   * server is away; some jobs may then have been added.
   */
  add(ids: readonly string[]): Promise<void>;
  /**
   * Removes every job, so that the caller can add all again from the database. No other process may drain the queue.
   */
  clear(): Promise<void>;
  /** Whether the server rejected the last claim of a job: a fault of the server, not of this process. */
  readonly isRejected: boolean;
  /** Starts no more jobs, waits for the running ones, and ends the connections. Safe to call twice. */
  close(): Promise<void>;
}

export interface PacedQueues {
  readonly kind: 'redis' | 'postgres' | 'pglite';
  /** Whether several processes may drain a queue at a time. On a database only one may: it uses the worker's clock. */
  readonly shared: boolean;
  open(options: PacedQueueOptions): Promise<PacedQueue>;
  /** Removes a queue that no process drains any more. Rejects soon if the server is away. */
  remove(name: string): Promise<void>;
  health(): Health;
  /** False while the server is away, or rejects what the queues do: nothing in this process can mend that. */
  canWork(): boolean;
  /** Closes the connections; close the queues first. Safe to call twice. */
  close(): Promise<void>;
}
