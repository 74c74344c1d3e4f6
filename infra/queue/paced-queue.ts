// One queue: BullMQ's queue and what runs its jobs, behind the port.
import type { BulkJobOptions } from 'bullmq';
import type { Logger } from 'pino';
import { within } from '../runtime/promises.ts';
import type { Backend, Ends } from './backend.ts';
import { JobRunner, LOCK_MS, STALLED_CHECK_MS, withinGrace } from './job-runner.ts';
import { Pace } from './pace.ts';
import type { PacedQueue, PacedQueueOptions } from './port.ts';

const ATTEMPTS = 5;
const RETRY_BASE_MS = 200;
/** Deaths of its worker in mid-job that a job survives; then it is gone, for whoever keeps the truth to add again. */
const MAX_STALLED = 10;
/** Jobs may take this long each and the pace is held; beyond the bound, less. */
const JOB_MS = 2_000;
const MIN_CONCURRENCY = 20;
const MAX_CONCURRENCY = 5_000;
/** What a drain that is alone makes good at a time, after its process was busy: a moment's worth, so no burst. */
const CATCH_UP_SLOTS = 2;
/** Jobs in one addition. */
const CHUNK = 500;
/** How long the opening of a queue waits for a server that has just gone. */
const END_PAUSE_MS = 2_000;
/** The same fault is logged this often at most: each attempt reports it. */
const LOG_PAUSE_MS = 10_000;

const jobOptions: Omit<BulkJobOptions, 'jobId'> = {
  attempts: ATTEMPTS,
  backoff: { type: 'exponential', delay: RETRY_BASE_MS, jitter: 0.5 },
  // A job that was kept would swallow the next one of its id.
  removeOnComplete: true,
  removeOnFail: true,
};

export class BullPacedQueue implements PacedQueue {
  readonly #backend: Backend;
  readonly #ends: Ends;
  readonly #jobs: JobRunner;
  readonly #log: Logger;
  readonly #loggedAt = new Map<string, number>();
  #closed: Promise<void> | undefined;

  static async open(backend: Backend, options: PacedQueueOptions, log: Logger): Promise<BullPacedQueue> {
    const queue = new BullPacedQueue(backend, options, log);
    try {
      if (options.cleared) await queue.clear();
      else await queue.#endPause();
    } catch (error) {
      await queue.close();
      throw error;
    }
    queue.#jobs.start();
    return queue;
  }

  private constructor(backend: Backend, { name, perSecond, work, onGivenUp }: PacedQueueOptions, log: Logger) {
    this.#backend = backend;
    this.#log = log.child({ queue: name });
    const { now, claims, shared } = backend;
    const pace = new Pace({ perSecond, now, catchUpSlots: shared ? 0 : CATCH_UP_SLOTS });
    this.#ends = backend.open(name, {
      // Own properties: for Redis, BullMQ serializes them with each claim.
      limiter: {
        get max() {
          return pace.max;
        },
        get duration() {
          return pace.duration;
        },
      },
      lockDuration: LOCK_MS,
      // BullMQ makes at most one check in this time, whoever asks for it.
      stalledInterval: STALLED_CHECK_MS * 0.8,
      maxStalledCount: MAX_STALLED,
    });
    const { queue, worker } = this.#ends;
    queue.on('error', (error) => this.#warn(error));
    worker.on('error', (error) => this.#warn(error));
    this.#jobs = new JobRunner({
      worker,
      claims,
      pace,
      concurrency: Math.min(MAX_CONCURRENCY, Math.max(MIN_CONCURRENCY, Math.ceil((perSecond * JOB_MS) / 1000))),
      work,
      onGivenUp,
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
        await this.#ends.queue.addBulk(jobs);
      } catch (error) {
        this.#backend.suspect();
        throw error;
      }
      this.#ends.wake();
    }
  }

  async clear(): Promise<void> {
    this.#backend.assertReachable();
    await this.#jobs.hold(() => this.#ends.queue.obliterate({ force: true }));
  }

  /**
   * A process that died while it removed the queue has left it paused. While the server is away nothing is asked, because
   * BullMQ would wait for it; the next opening tries again.
   */
  async #endPause(): Promise<void> {
    const { queue } = this.#ends;
    const resume = async () => {
      if (await queue.isPaused()) await queue.resume();
    };
    try {
      this.#backend.assertReachable();
      await within(END_PAUSE_MS, resume());
    } catch (error) {
      this.#warn(error as Error);
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const { queue, cut } = this.#ends;
    await this.#jobs.stop(cut);
    await withinGrace(queue.close());
  }

  #warn(error: Error): void {
    const kind = error.message.replace(/\bjob [^ ]+/, 'job');
    const last = this.#loggedAt.get(kind);
    if (last !== undefined && performance.now() - last < LOG_PAUSE_MS) return;
    this.#loggedAt.set(kind, performance.now());
    this.#log.warn({ error: error.message }, "the queue's server reports a fault");
  }
}
