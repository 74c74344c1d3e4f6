// Claims the jobs of one queue from BullMQ and runs them.
//
// BullMQ's own loop claims one job after the other, and starts none before it has claimed as many as may run at a time
// or reached the limit. If a claim takes a millisecond, that turns an even rate into bursts; and after an outage the
// loop may stop for good (taskforcesh/bullmq#4585). So this loop replaces it. Claims, locks, limiter, retries and
// stalled jobs are BullMQ's.
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Job, UnrecoverableError } from 'bullmq';
import type { Logger } from 'pino';
import { backoff } from '../runtime/backoff.ts';
import { FailureStreak } from '../runtime/failure-streak.ts';
import { Loop } from '../runtime/loop.ts';
import { deferred } from '../runtime/promises.ts';
import { type BullWorker, OUTAGE, withinGrace } from './backend.ts';
import type { PacedQueueOptions } from './port.ts';
import type { SlotLimiter } from './slot-limiter.ts';

/** The jobs of a dead worker run again after this plus up to two checks. */
export const LOCK_MS = 10_000;
export const STALLED_CHECK_MS = 2_500;
/** An idle worker polls for jobs at this interval, in case a notification was lost. */
const IDLE_POLL_MS = 2_000;
/**
 * More than the longest window of the limiter: 1.25 slots at one job a second. A longer one was written by a process
 * whose clock is ahead; the process that takes over the queue clears it.
 */
const LIMITED_MAX_MS = 1_500;
const OUTAGE_PAUSE_MS = 300;
const OUTAGE_PAUSE_MAX_MS = 1_000;

export interface JobRunnerOptions extends Pick<PacedQueueOptions, 'work' | 'onLastFailure'> {
  readonly worker: BullWorker;
  readonly concurrentClaims: number;
  readonly limiter: Pick<SlotLimiter, 'perSlot' | 'blockedMs' | 'markStarted' | 'markIdle'>;
  /** Maximum number of running jobs. */
  readonly concurrency: number;
  readonly onFault: (error: Error) => void;
  readonly log: Logger;
}

/** A claim that got no job. */
interface EmptyClaim {
  /** Until the limiter lets another job start; 0 if it does now. */
  readonly limitedMs: number;
  /** When the next retry is due, by Date.now(); 0 if there is none. */
  readonly delayedUntil: number;
}

export class JobRunner {
  readonly #options: JobRunnerOptions;
  readonly #backgroundLoops: readonly Loop[];
  /** The running jobs, by the token of their lock. */
  readonly #running = new Map<string, { readonly id: string; readonly worked: Promise<void>; ended: Promise<void> }>();
  readonly #stopping = new AbortController();
  readonly #claims: FailureStreak;
  #isRejected = false;
  #claiming: Promise<unknown> | undefined;
  #paused: Promise<void> | undefined;
  #loop: Promise<void> | undefined;

  constructor(options: JobRunnerOptions) {
    this.#options = options;
    setMaxListeners(0, this.#stopping.signal); // each job that waits for the end of an outage adds one
    const { log } = options;
    this.#claims = new FailureStreak({ name: 'claim jobs', log });
    this.#backgroundLoops = [
      new Loop({ name: 'queue locks', turn: () => this.#extendLocks(), everyMs: LOCK_MS / 3, log }),
      new Loop({ name: 'stalled jobs', turn: () => this.#freeStalled(), everyMs: STALLED_CHECK_MS, log }),
    ];
  }

  start(): void {
    for (const loop of this.#backgroundLoops) loop.start();
    this.#loop ??= this.#run();
  }

  /** Whether the server responded to the last claim with an error. */
  get isRejected(): boolean {
    return this.#isRejected;
  }

  /** Waits for the running jobs and runs `work` before any other job starts. */
  async whilePaused<T>(work: () => Promise<T>): Promise<T> {
    const paused = deferred();
    this.#paused = paused.promise;
    try {
      await this.#claiming;
      await Promise.all(this.#ended());
      return await work();
    } finally {
      this.#paused = undefined;
      paused.resolve();
    }
  }

  /**
   * Starts no more jobs, waits for the running ones, and closes the worker. `sever` ends calls that still wait then.
   */
  async stop(sever: () => void): Promise<void> {
    const { worker } = this.#options;
    this.#stopping.abort();
    const loops = Promise.all(this.#backgroundLoops.map((loop) => loop.stop()));
    // The loop stops first, because a pending claim may still start a job.
    await withinGrace(Promise.all([worker.getBackend().disconnectBlocking(false), this.#loop]));
    await Promise.all([...this.#running.values()].map(({ worked }) => worked));
    await withinGrace(Promise.all([loops, ...this.#ended()]));
    sever();
    await withinGrace(worker.close());
    await loops;
  }

  async #run(): Promise<void> {
    const { concurrency, concurrentClaims, limiter } = this.#options;
    let count = 1;
    while (!this.#stopping.signal.aborted) {
      await this.#paused;
      const free = concurrency - this.#running.size;
      if (free <= 0) {
        await Promise.race(this.#ended());
        continue;
      }
      const { blockedMs } = limiter;
      if (blockedMs > 0) {
        await this.#pause(blockedMs);
        count = Math.min(limiter.perSlot, concurrentClaims);
        continue;
      }
      try {
        const empty = await this.#claimSome(Math.min(count, free));
        this.#claims.succeeded();
        this.#isRejected = false;
        count = Math.min(this.#nextCount(count, empty), concurrentClaims);
        if (empty) await this.#waitForJob(empty);
      } catch (error) {
        count = 1;
        if (this.#stopping.signal.aborted) break;
        this.#isRejected = isRejection(error);
        this.#claims.failed(error);
        await this.#pause(backoff(this.#claims.failures, OUTAGE_PAUSE_MS, OUTAGE_PAUSE_MAX_MS));
      }
    }
    this.#claims.end();
  }

  /** The number of concurrent claims after a round of `count`. `empty`: a claim of that round that got no job. */
  #nextCount(count: number, empty: EmptyClaim | undefined): number {
    const { perSlot } = this.#options.limiter;
    // A busy server delays each round, so the first one of a window claims all of its jobs.
    if (empty) return empty.limitedMs > 0 ? perSlot : 1;
    // After a whole window, claims one job to find out whether the limit is reached.
    return count < perSlot ? count * 2 : 1;
  }

  /** Claims `count` jobs at once. Resolves with a claim that got none, if there is one. */
  async #claimSome(count: number): Promise<EmptyClaim | undefined> {
    const claiming = Promise.allSettled(Array.from({ length: count }, () => this.#claim()));
    this.#claiming = claiming;
    const claims = (await claiming).map((settled) => {
      if (settled.status === 'rejected') throw settled.reason;
      return settled.value;
    });
    return claims.find((empty) => empty !== undefined);
  }

  /** Resolves when another claim may succeed. */
  async #waitForJob({ limitedMs, delayedUntil }: EmptyClaim): Promise<void> {
    if (limitedMs > 0) return this.#pause(Math.min(limitedMs, LIMITED_MAX_MS));
    if (this.#stopping.signal.aborted) return;
    this.#options.limiter.markIdle();
    const backend = this.#options.worker.getBackend();
    const idleMs = delayedUntil > 0 ? Math.min(delayedUntil - Date.now(), IDLE_POLL_MS) : IDLE_POLL_MS;
    if (idleMs > 0) await backend.waitForJob(Math.max(idleMs / 1000, backend.minimumBlockTimeout));
  }

  /** Claims one job and starts it. */
  async #claim(): Promise<EmptyClaim | undefined> {
    const { worker } = this.#options;
    const token = randomUUID();
    const [data, id, limitedMs = 0, delayedUntil = 0] = await worker.getBackend().moveToActive(token);
    if (!data || !id) return { limitedMs, delayedUntil };
    this.#options.limiter.markStarted();
    const job = Job.fromJSON(worker, data, id);
    const worked = job.deferredFailure
      ? Promise.reject(new UnrecoverableError(job.deferredFailure)) // the job's workers died too often
      : this.#options.work(id);
    const running = { id, worked: worked.catch(() => undefined), ended: Promise.resolve() };
    this.#running.set(token, running);
    running.ended = this.#report(job, id, worked, token).finally(() => this.#running.delete(token));
    return undefined;
  }

  /** Reports the result of an attempt to BullMQ. Never rejects. */
  async #report(job: Job<object, void>, id: string, worked: Promise<void>, token: string): Promise<void> {
    const failure = await worked.then(() => undefined, asError);
    // Repeated while the server is away, until stop(): an unreported job would run once more. A job that waits here
    // counts as running, so at most `concurrency` of them wait.
    for (;;) {
      try {
        if (failure) await job.moveToFailed(failure, token, false);
        else await job.moveToCompleted(undefined, token, false);
        break;
      } catch (error) {
        this.#fault(error);
        // Any other error means that the lock is lost: the job was removed, or it runs again elsewhere.
        if (!isOutage(error) || this.#stopping.signal.aborted) return;
        await this.#pause(OUTAGE_PAUSE_MS);
      }
    }
    if (failure && !(failure instanceof UnrecoverableError) && job.attemptsMade >= (job.opts.attempts ?? 1))
      this.#options.onLastFailure(id, failure);
  }

  async #extendLocks(): Promise<void> {
    const tokens = [...this.#running.keys()];
    const ids = [...this.#running.values()].map(({ id }) => id);
    if (ids.length > 0) await this.#options.worker.extendJobLocks(ids, tokens, LOCK_MS);
  }

  async #freeStalled(): Promise<void> {
    await this.#options.worker.getBackend().moveStalledJobsToWait();
  }

  /** A promise for each running job, fulfilled when the job ends. */
  #ended(): Promise<void>[] {
    return [...this.#running.values()].map(({ ended }) => ended);
  }

  #fault(error: unknown): void {
    if (!this.#stopping.signal.aborted) this.#options.onFault(asError(error));
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined); // stop() ends the pause
  }
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

/** Whether it is a response of Redis, or of a database (which has a severity), rather than a fault of the connection. */
const isRejection = (error: unknown): boolean =>
  error instanceof Error && (error.name === 'ReplyError' || 'severity' in error);

const isOutage = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === OUTAGE;
