// Looks, five times a second, at how many orders each step is done for, as the order service counts the answers that it
// has recorded. So the backlog of a service is known while it is gone: orders that are accepted and not answered for.
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError, messageOf } from '../shared/errors.ts';
import { HttpClient } from '../shared/http.ts';
import { type PerService, recordedSteps, type StepService } from '../shared/metrics.ts';
import { steps } from './system.ts';

const EVERY_MS = 200;
/** An order service that shows no metrics for this long is given up. */
const SILENT_FOR_MS = 30_000;

export interface Sample {
  /** After the origin. */
  readonly atMs: number;
  /** Orders whose step is recorded. */
  readonly done: PerService;
  /** Accepted orders whose step is not recorded. */
  readonly waiting: PerService;
  /** Orders whose steps are all recorded. */
  readonly completed: number;
}

export interface WatchOptions {
  /** The order service's. */
  readonly url: string;
  readonly signal: AbortSignal;
}

/** What is watched, once orders flow. */
export interface Watched {
  /** By performance.now(). */
  readonly origin: number;
  /** Orders that were accepted so far. */
  readonly accepted: () => number;
  readonly onSample: (sample: Sample) => void;
}

export class Watch {
  readonly samples: Sample[] = [];
  readonly #signal: AbortSignal;
  /** On a connection of its own, so that it does not wait behind the orders. */
  readonly #http: HttpClient;
  /** What was recorded before the orders that are watched. */
  #baseline: PerService = { points: 0, coupon: 0, notify: 0 };
  #watched: Watched = { origin: 0, accepted: () => 0, onSample: () => {} };
  #seenAt = performance.now();

  private constructor({ url, signal }: WatchOptions) {
    this.#signal = signal;
    this.#http = new HttpClient(url);
  }

  /** To be opened before the first order is sent. */
  static async open(options: WatchOptions): Promise<Watch> {
    const watch = new Watch(options);
    try {
      await watch.until(({ done }) => {
        watch.#baseline = done;
        return true;
      });
      watch.samples.length = 0;
      return watch;
    } catch (error) {
      await watch.close();
      throw error;
    }
  }

  begin(watched: Watched): void {
    this.#watched = watched;
  }

  /**
   * Takes samples until one makes `done` true, and then resolves with true; with false once `deadlineMs` has passed. Without
   * a deadline, `done` must come true with time. Rejects when `signal` aborts, or when nothing is answered for long.
   */
  async until(done: (sample: Sample) => boolean, deadlineMs = Number.POSITIVE_INFINITY): Promise<boolean> {
    const signal = this.#signal;
    for (;;) {
      signal.throwIfAborted();
      const sample = await this.#look();
      if (sample && done(sample)) return true;
      if (performance.now() - this.#watched.origin > deadlineMs) return false;
      await sleep(EVERY_MS, undefined, { signal });
    }
  }

  /** Takes samples while `work` goes on. */
  async during<T>(work: Promise<T>): Promise<T> {
    let over = false;
    const ended = work.finally(() => {
      over = true;
    });
    ended.catch(() => {}); // it is awaited below, unless looking fails before
    await this.until(() => over);
    return ended;
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  /** Undefined where there is no answer just now. */
  async #look(): Promise<Sample | undefined> {
    const accepted = this.#watched.accepted();
    const recorded = await this.#read();
    if (!recorded) return undefined;
    const done = perService((step) => recorded[step] - this.#baseline[step]);
    const sample = {
      atMs: this.#seenAt - this.#watched.origin,
      done,
      waiting: perService((step) => Math.max(0, accepted - done[step])),
      completed: Math.min(...steps.map((step) => done[step])),
    };
    this.samples.push(sample);
    this.#watched.onSample(sample);
    return sample;
  }

  async #read(): Promise<PerService | undefined> {
    const signal = this.#signal;
    try {
      const { status, text } = await this.#http.request('GET', '/metrics', { signal });
      if (status !== 200) throw new Error(`/metrics is answered ${status}`);
      this.#seenAt = performance.now();
      return recordedSteps(text);
    } catch (error) {
      signal.throwIfAborted();
      if (performance.now() - this.#seenAt < SILENT_FOR_MS) return undefined;
      throw new CliError(`the order service shows no metrics: ${messageOf(error)}`, { cause: error });
    }
  }
}

const perService = (of: (step: StepService) => number): PerService => ({
  points: of('points'),
  coupon: of('coupon'),
  notify: of('notify'),
});
