// The servers that can hold the queues, behind one interface: Redis, PostgreSQL, PGlite.
import type { IQueueBackend, JobProgress, Queue, Worker, WorkerOptions } from 'bullmq';
import type { Health } from '../runtime/health.ts';
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

export interface Backend {
  readonly kind: PacedQueues['kind'];
  readonly shared: boolean;
  /** Concurrent claims on one queue: more than one if the server's round trip takes longer than its work. */
  readonly concurrentClaims: number;
  /** Milliseconds on the clock that times the limiter's windows. */
  now(): number;
  start(): Promise<void>;
  open(name: string, settings: WorkerSettings): Connections;
  /** Removes everything of a queue. */
  remove(name: string): Promise<void>;
  /** Throws, at once, while the server is away. */
  assertReachable(): void;
  /** Replaces a connection that looks dead, after an addition failed. */
  renewConnection(): void;
  health(): Health;
  close(): Promise<void>;
}
