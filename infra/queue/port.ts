// Queues that are drained at an even pace. They give the pace, the retries and the taking up of work that a dead
// process left, and nothing else: what they hold may be lost at any time, so whoever adds jobs keeps the truth in the
// database, adds again what is missing, and does the work of a job idempotently.
import type { Health } from '../runtime/health.ts';

export interface PacedQueueOptions {
  /** 1 to 60 characters of A-Z a-z 0-9 - _ */
  readonly name: string;
  /** 1 to 10,000, held by all processes that drain the queue together; evenly, not in bursts each second. */
  readonly perSecond: number;
  /** The work of a job. Throwing asks for another attempt, with backoff. May run twice for one id. */
  readonly work: (id: string) => Promise<void>;
  /** The last attempt at a job threw; the job is gone. Must not throw. Not called for jobs that stalled too often. */
  readonly onGivenUp: (id: string, error: Error) => void;
  /** Forgets, before it begins, every job that there is: see clear(). */
  readonly cleared?: boolean;
}

/** A queue that this process drains, from open() until close(). */
export interface PacedQueue {
  /**
   * Adds a job for each id, in this order. An id whose job waits or runs is not added again; one whose job has ended is.
   * Rejects, soon, where the queue's server is away; then some may have been added.
   */
  add(ids: readonly string[]): Promise<void>;
  /** Forgets every job. For who begins anew from the database; no other process may be draining the queue. */
  clear(): Promise<void>;
  /** Begins no more jobs, waits for those that run, and forgets the connection. Safe to call twice. */
  close(): Promise<void>;
}

export interface PacedQueues {
  readonly kind: 'redis' | 'postgres' | 'pglite';
  /** Whether several processes may drain one queue at a time. On a database only one may: its times are the worker's. */
  readonly shared: boolean;
  open(options: PacedQueueOptions): Promise<PacedQueue>;
  /** Forgets everything of a queue that nobody drains any more. Rejects, soon, while the server is away. */
  remove(name: string): Promise<void>;
  health(): Health;
  /** Closes the connections; close the queues first. Safe to call twice. */
  close(): Promise<void>;
}
