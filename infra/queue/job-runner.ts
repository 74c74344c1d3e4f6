// Takes the jobs of one queue from BullMQ and runs them.
//
// BullMQ's own loop claims one job after the other and begins none before it has claimed as many as may run at a time or
// met the limit, which turns an even pace into bursts where a claim takes a millisecond; and after an outage it may stay
// silent (taskforcesh/bullmq#4585). So the loop is ours. What a claim means, locks, limiter, retries and stalled jobs are
// BullMQ's.
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Job, UnrecoverableError } from 'bullmq';
import type { Logger } from 'pino';
import { Loop } from '../runtime/loop.ts';
import type { BullWorker } from './backend.ts';
import type { Pace } from './pace.ts';

/** A dead worker's jobs run again after this and up to two checks. */
export const LOCK_MS = 10_000;
export const STALLED_CHECK_MS = 2_500;
/** A worker without jobs looks for some this often, should it not have been told of them. */
const IDLE_POLL_MS = 2_000;
/**
 * The longest window of the limiter: one and a half slots at one job a second. What says that it is to last longer was
 * written by a process whose clock is ahead, and is cleared by who takes over from it.
 */
const LIMITED_MAX_MS = 1_500;
const OUTAGE_PAUSE_MS = 300;
/** How long BullMQ may take for what it has to tell its server at the end. */
const GRACE_MS = 2_000;

export interface JobRunnerOptions {
  readonly worker: BullWorker;
  /** Claims under way at a time, at most. */
  readonly claims: number;
  readonly pace: Pick<Pace, 'perSlot' | 'rest'>;
  /** Jobs that run at a time. */
  readonly concurrency: number;
  readonly work: (id: string) => Promise<void>;
  readonly onGivenUp: (id: string, error: Error) => void;
  readonly onFault: (error: Error) => void;
  readonly log: Logger;
}

interface Claim {
  readonly began: boolean;
  /** Until the limiter lets another job begin; 0 where it would now. */
  readonly limitedMs: number;
  /** When the next retry is due, by Date.now(); 0 where there is none. */
  readonly delayedUntil: number;
}

export class JobRunner {
  readonly #options: JobRunnerOptions;
  readonly #backgroundLoops: readonly Loop[];
  readonly #tokens = randomUUID();
  #claims = 0;
  /** The jobs that run, by the token of their lock. */
  readonly #running = new Map<string, { readonly id: string; readonly worked: Promise<void>; ended: Promise<void> }>();
  readonly #stopping = new AbortController();
  #claiming: Promise<unknown> | undefined;
  #held: Promise<void> | undefined;
  #loop: Promise<void> | undefined;

  constructor(options: JobRunnerOptions) {
    this.#options = options;
    setMaxListeners(0, this.#stopping.signal); // each job that waits out an outage listens
    const { log } = options;
    this.#backgroundLoops = [
      new Loop({ name: 'queue locks', turn: () => this.#extendLocks(), everyMs: LOCK_MS / 3, log }),
      new Loop({ name: 'stalled jobs', turn: () => this.#freeStalled(), everyMs: STALLED_CHECK_MS, log }),
    ];
  }

  start(): void {
    for (const loop of this.#backgroundLoops) loop.start();
    this.#loop ??= this.#run();
  }

  /** Runs `work` while no job runs and none begins. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    let release: () => void = () => undefined;
    this.#held = new Promise((resolve) => {
      release = resolve;
    });
    try {
      await this.#claiming;
      await Promise.all([...this.#running.values()].map(({ ended }) => ended));
      return await work();
    } finally {
      this.#held = undefined;
      release();
    }
  }

  /** Begins no more jobs, waits for those that run, and closes the worker; `cut` ends whatever still waits then. */
  async stop(cut: () => void): Promise<void> {
    const { worker } = this.#options;
    this.#stopping.abort();
    const loops = Promise.all(this.#backgroundLoops.map((loop) => loop.stop()));
    // A claim under way may still begin a job, so the loop comes first.
    await withinGrace(Promise.all([worker.getBackend().disconnectBlocking(false), this.#loop]));
    await Promise.all([...this.#running.values()].map(({ worked }) => worked));
    await withinGrace(Promise.all([loops, ...[...this.#running.values()].map(({ ended }) => ended)]));
    cut();
    await withinGrace(worker.close());
    await loops;
  }

  async #run(): Promise<void> {
    const { worker, claims, pace } = this.#options;
    const backend = worker.getBackend();
    let count = 1;
    while (!this.#stopping.signal.aborted) {
      await this.#held;
      const free = this.#options.concurrency - this.#running.size;
      if (free <= 0) {
        await Promise.race([...this.#running.values()].map(({ ended }) => ended));
        continue;
      }
      try {
        const claiming = Promise.allSettled(Array.from({ length: Math.min(count, free) }, () => this.#claim()));
        this.#claiming = claiming;
        const claimed = (await claiming).map((settled) => {
          if (settled.status === 'rejected') throw settled.reason;
          return settled.value;
        });
        const none = claimed.find(({ began }) => !began);
        // More at a time as long as there are some, so that few ask in vain; and where only the limit was met, all of the
        // next window's at once: where the server is busy, each round of claims waits its turn.
        count = !none ? Math.min(count * 2, claims) : none.limitedMs > 0 ? Math.min(pace.perSlot, claims) : 1;
        if (!none) continue;
        if (none.limitedMs > 0) await this.#pause(Math.min(none.limitedMs, LIMITED_MAX_MS));
        else if (!this.#stopping.signal.aborted) {
          pace.rest();
          const idleMs = none.delayedUntil > 0 ? Math.min(none.delayedUntil - Date.now(), IDLE_POLL_MS) : IDLE_POLL_MS;
          if (idleMs > 0) await backend.waitForJob(Math.max(idleMs / 1000, backend.minimumBlockTimeout));
        }
      } catch (error) {
        count = 1;
        this.#fault(error);
        await this.#pause(OUTAGE_PAUSE_MS);
      }
    }
  }

  /** Asks for one job and lets it begin. */
  async #claim(): Promise<Claim> {
    const { worker } = this.#options;
    const token = `${this.#tokens}:${this.#claims++}`;
    const [data, id, limitedMs = 0, delayedUntil = 0] = await worker.getBackend().moveToActive(token);
    if (!data || !id) return { began: false, limitedMs, delayedUntil };
    const job = Job.fromJSON(worker, data, id);
    const worked = job.deferredFailure
      ? Promise.reject(new UnrecoverableError(job.deferredFailure)) // its workers died too often
      : this.#options.work(id);
    const running = { id, worked: worked.catch(() => undefined), ended: Promise.resolve() };
    this.#running.set(token, running);
    running.ended = this.#end(job, id, worked, token).finally(() => this.#running.delete(token));
    return { began: true, limitedMs: 0, delayedUntil: 0 };
  }

  /** Tells BullMQ how an attempt ended. Never rejects. */
  async #end(job: Job<object, void>, id: string, worked: Promise<void>, token: string): Promise<void> {
    const failure = await worked.then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
    );
    // While the server is away, until it is back or stop() is called: without an answer the job would run once more. Each
    // job that waits here keeps its place, so there are at most `concurrency` of them.
    for (;;) {
      try {
        if (failure) await job.moveToFailed(failure, token, false);
        else await job.moveToCompleted(undefined, token, false);
        break;
      } catch (error) {
        this.#fault(error);
        // Otherwise the lock is lost: the job was forgotten, or it runs again elsewhere.
        if (!isOutage(error) || this.#stopping.signal.aborted) return;
        await this.#pause(OUTAGE_PAUSE_MS);
      }
    }
    if (failure && !(failure instanceof UnrecoverableError) && job.attemptsMade >= (job.opts.attempts ?? 1))
      this.#options.onGivenUp(id, failure);
  }

  async #extendLocks(): Promise<boolean> {
    const running = [...this.#running];
    if (running.length > 0) {
      const ids = running.map(([, { id }]) => id);
      const tokens = running.map(([token]) => token);
      await this.#options.worker.extendJobLocks(ids, tokens, LOCK_MS);
    }
    return false;
  }

  async #freeStalled(): Promise<boolean> {
    await this.#options.worker.getBackend().moveStalledJobsToWait();
    return false;
  }

  #fault(error: unknown): void {
    if (!this.#stopping.signal.aborted)
      this.#options.onFault(error instanceof Error ? error : new Error(String(error)));
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined); // cut short by stop()
  }
}

/** The code of a fault of the connection: what was asked for may succeed later. */
export const OUTAGE = 'ECONNREFUSED';

function isOutage(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === OUTAGE;
}

/** Resolves when `ending` has settled, or after the grace. */
export async function withinGrace(ending: Promise<unknown> | undefined): Promise<void> {
  const enough = new AbortController();
  const grace = delay(GRACE_MS, undefined, { signal: enough.signal }).catch(() => undefined);
  await Promise.race([Promise.resolve(ending).catch(() => undefined), grace]);
  enough.abort();
}
