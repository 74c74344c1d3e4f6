// What a server of queues offers to the queues on it.
import type { IQueueBackend, JobProgress, Queue, Worker, WorkerOptions } from 'bullmq';
import type { Health } from '../runtime/health.ts';
import type { PacedQueues } from './port.ts';

export type WorkerSettings = Pick<WorkerOptions, 'limiter' | 'lockDuration' | 'stalledInterval' | 'maxStalledCount'>;

// biome-ignore lint/suspicious/noExplicitAny: the connection is of another type for each server
type BullQueue = Queue<object, void, string, object, void, string, IQueueBackend, any>;
// biome-ignore lint/suspicious/noExplicitAny: likewise
export type BullWorker = Worker<object, void, string, IQueueBackend, JobProgress, any>;

/** BullMQ's two ends of one queue. */
export interface Ends {
  readonly queue: BullQueue;
  /** Without a loop of its own. */
  readonly worker: BullWorker;
  /** Tells the worker of new jobs, where the server itself does not. */
  wake(): void;
  /** Ends the connections of this queue in whatever state they are, so that what BullMQ still waits for fails. */
  cut(): void;
}

export interface Backend {
  readonly kind: PacedQueues['kind'];
  readonly shared: boolean;
  /** Milliseconds on the clock that the limiter's windows are told by. */
  now(): number;
  /** Claims under way at a time for one queue: more than one where the server's answer takes longer than its work. */
  readonly claims: number;
  open(name: string, settings: WorkerSettings): Ends;
  /** Leaves nothing of a queue. */
  remove(name: string): Promise<void>;
  /** Throws, at once, while the server is away. */
  assertReachable(): void;
  /** An addition failed: time to see whether the connection is dead. */
  suspect(): void;
  health(): Health;
  close(): Promise<void>;
}
