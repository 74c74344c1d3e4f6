// The servers that can hold the queues, behind one interface: Redis, PostgreSQL, PGlite.
import type { IQueueBackend, JobProgress, Queue, Worker, WorkerOptions } from 'bullmq';
import { within } from '../runtime/promises.ts';
import type { PacedQueues } from './port.ts';

export type WorkerSettings = Pick<WorkerOptions, 'limiter' | 'lockDuration' | 'stalledInterval' | 'maxStalledCount'>;

// biome-ignore lint/suspicious/noExplicitAny: each server has connections of another type
type BullQueue = Queue<object, void, string, object, void, string, IQueueBackend, any>;
// biome-ignore lint/suspicious/noExplicitAny: likewise
export type BullWorker = Worker<object, void, string, IQueueBackend, JobProgress, any>;

/** BullMQ's objects for one queue. */
export interface Connections {
  readonly queue: BullQueue;
  /** Not running: a JobRunner takes its jobs. */
  readonly worker: BullWorker;
  /** Notifies the worker of new jobs if the server does not. */
  wake(): void;
  /** Ends the queue's connections in any state, so that calls of BullMQ that wait for them fail. */
  sever(): void;
}

export interface Backend extends Pick<PacedQueues, 'kind' | 'shared' | 'health' | 'canWork'> {
  /** Concurrent claims on one queue: more than one if the server's round trip takes longer than its work. */
  readonly concurrentClaims: number;
  /** Milliseconds on the clock that times the limiter's windows. */
  now(): number;
  /** `migrate`: whether to bring the server's schema up to date; otherwise it is only checked. */
  start(options: { readonly migrate: boolean }): Promise<void>;
  /** For a stop: from now on, calls fail if the server is away or does not respond within a second. */
  interrupt(): void;
  open(name: string, settings: WorkerSettings): Connections;
  remove(name: string): Promise<void>;
  /** Throws, at once, while the server is away. */
  assertReachable(): void;
  /** Replaces a connection that looks dead, after an addition failed with `error`. */
  renewConnection(error: unknown): void;
  close(): Promise<void>;
}

/** Error code of a connection fault: the same call may succeed later. */
export const OUTAGE = 'ECONNREFUSED';

/** Approximate number of events that BullMQ keeps per queue; they are not used. */
export const streams = { events: { maxLen: 100 } };

/** How long BullMQ may take to report to its server when it closes. */
const GRACE_MS = 2_000;

/** Resolves when `closing` has settled, or after GRACE_MS. */
export const withinGrace = (closing: Promise<unknown>): Promise<unknown> =>
  within(GRACE_MS, closing).catch(() => undefined);

/**
 * Removes everything of a queue, and closes it. The queue has skipMetasUpdate: with metadata it would write its
 * settings beside the data that is removed.
 */
export async function obliterate(queue: BullQueue): Promise<void> {
  queue.on('error', () => undefined); // obliterate() rejects with it
  try {
    await queue.obliterate({ force: true });
  } finally {
    await withinGrace(queue.close());
  }
}
