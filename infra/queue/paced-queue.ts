// One queue: BullMQ's queue and the runner of its jobs, behind the port.
import type { BulkJobOptions } from 'bullmq';
import type { Logger } from 'pino';
import { within } from '../runtime/promises.ts';
import { type Backend, type Connections, withinGrace } from './backend.ts';
import { JobRunner, LOCK_MS, STALLED_CHECK_MS } from './job-runner.ts';
import type { PacedQueue, PacedQueueOptions } from './port.ts';
import { SlotLimiter } from './slot-limiter.ts';

/** A job whose workers died this often is removed; the owner of the tickets adds it again. */
const MAX_STALLED = 10;
/** The rate is kept for jobs that take up to this long, within the bounds of the concurrency. */
const JOB_MS = 2_000;
const MIN_CONCURRENCY = 20;
const MAX_CONCURRENCY = 5_000;
/** Jobs per addition. */
const CHUNK = 500;
/** How long open() waits for a server that has just gone away. */
const RESUME_MS = 2_000;
/** Minimum interval between two log lines about the same fault, which every attempt reports. */
const LOG_PAUSE_MS = 10_000;

const jobOptions: Omit<BulkJobOptions, 'jobId'> = {
  attempts: 5,
  backoff: { type: 'exponential', delay: 200, jitter: 0.5 },
  // A finished job that is kept would prevent the next one with its id.
  removeOnComplete: true,
  removeOnFail: true,
};

export class BullPacedQueue implements PacedQueue {
  readonly #backend: Backend;
  readonly #connections: Connections;
  readonly #jobs: JobRunner;
  readonly #log: Logger;
  readonly #loggedAt = new Map<string, number>();
  #closed: Promise<void> | undefined;

  static async open(backend: Backend, options: PacedQueueOptions, log: Logger): Promise<BullPacedQueue> {
    const queue = new BullPacedQueue(backend, options, log);
    try {
      if (options.cleared) await queue.clear();
      else await queue.#resume();
    } catch (error) {
      await queue.close();
      throw error;
    }
    queue.#jobs.start();
    return queue;
  }

  private constructor(backend: Backend, { name, perSecond, work, onLastFailure }: PacedQueueOptions, log: Logger) {
    this.#backend = backend;
    this.#log = log.child({ queue: name });
    const { concurrentClaims, shared } = backend;
    const limiter = new SlotLimiter({ perSecond, isSole: !shared, now: () => backend.now() });
    this.#connections = backend.open(name, {
      // Own properties, because for Redis BullMQ serializes them with each claim.
      limiter: {
        get max() {
          return limiter.max;
        },
        get duration() {
          return limiter.duration;
        },
      },
      lockDuration: LOCK_MS,
      // BullMQ makes at most one check per interval, over all processes.
      stalledInterval: STALLED_CHECK_MS * 0.8,
      maxStalledCount: MAX_STALLED,
    });
    const { queue, worker } = this.#connections;
    queue.on('error', (error) => this.#warn(error));
    worker.on('error', (error) => this.#warn(error));
    this.#jobs = new JobRunner({
      worker,
      concurrentClaims,
      limiter,
      concurrency: Math.min(MAX_CONCURRENCY, Math.max(MIN_CONCURRENCY, Math.ceil((perSecond * JOB_MS) / 1000))),
      work,
      onLastFailure,
      onFault: (error) => this.#warn(error),
      log: this.#log,
    });
  }

  async add(ids: readonly string[]): Promise<void> {
    for (let start = 0; start < ids.length; start += CHUNK) {
      this.#backend.assertReachable();
      const jobs = ids
        .slice(start, start + CHUNK)
        .map((jobId) => ({ name: 'work', data: {}, opts: { ...jobOptions, jobId } }));
      try {
        await this.#connections.queue.addBulk(jobs);
      } catch (error) {
        this.#backend.renewConnection(error);
        throw error;
      }
      this.#connections.wake();
    }
  }

  get isRejected(): boolean {
    return this.#jobs.isRejected;
  }

  async clear(): Promise<void> {
    this.#backend.assertReachable();
    await this.#jobs.whilePaused(() => this.#connections.queue.obliterate({ force: true }));
  }

  /**
   * A process that died while it removed the queue left it paused. Does nothing while the server is away, because
   * BullMQ would wait for it; the next open() tries again.
   */
  async #resume(): Promise<void> {
    const { queue } = this.#connections;
    const resume = async () => {
      if (await queue.isPaused()) await queue.resume();
    };
    try {
      this.#backend.assertReachable();
      await within(RESUME_MS, resume());
    } catch (error) {
      this.#warn(error as Error);
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#jobs.stop(() => this.#connections.sever());
    await withinGrace(this.#connections.queue.close());
  }

  #warn(error: Error): void {
    const kind = error.message.replace(/\bjob [^ ]+/, 'job');
    const last = this.#loggedAt.get(kind);
    if (last !== undefined && performance.now() - last < LOG_PAUSE_MS) return;
    this.#loggedAt.set(kind, performance.now());
    this.#log.warn({ error: error.message }, 'fault of the queue server');
  }
}
