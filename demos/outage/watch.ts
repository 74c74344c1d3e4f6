// Looks, five times a second, at how many orders each step is done for, as the order service counts the answers that it
// has recorded. So the backlog of a service is known while it is gone: orders that are accepted and not answered for.
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { CliError, messageOf } from '../shared/errors.ts';
import { type StepService, steps } from './system.ts';

const EVERY_MS = 200;
/** An order service that shows no metrics for this long is given up. */
const SILENT_FOR_MS = 30_000;
const TIMEOUT_MS = 5_000;

export type PerService = Readonly<Record<StepService, number>>;

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

/** The answers that end a step. */
const answersOf: Readonly<Record<StepService, readonly string[]>> = {
  points: ['points.awarded'],
  coupon: ['coupon.issued', 'coupon.skipped'],
  notify: ['notification.sent'],
};

/** From Prometheus' text: for how many orders the order service has recorded each step. */
export function recordedIn(metrics: string): PerService {
  const counted = new Map<string, number>();
  for (const [, labels = '', value] of metrics.matchAll(/^sluice_messages_handled_total\{([^}]*)\} (\S+)$/gm)) {
    const { service, type, outcome } = Object.fromEntries(
      Array.from(labels.matchAll(/(\w+)="([^"]*)"/g), ([, name, text]) => [name, text]),
    );
    if (service === 'order' && outcome === 'done') counted.set(type, Number(value));
  }
  return perService((step) => answersOf[step].reduce((sum, type) => sum + (counted.get(type) ?? 0), 0));
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
  readonly #http: Pool;
  /** What was recorded before the orders that are watched. */
  #baseline: PerService = { points: 0, coupon: 0, notify: 0 };
  #watched: Watched = { origin: 0, accepted: () => 0, onSample: () => {} };
  #seenAt = performance.now();

  private constructor({ url, signal }: WatchOptions) {
    this.#signal = signal;
    this.#http = new Pool(url, { connections: 1, headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS });
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
    return this.#http.destroy();
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
      const { statusCode, body } = await this.#http.request({ method: 'GET', path: '/metrics', signal });
      const text = await body.text();
      if (statusCode !== 200) throw new Error(`/metrics is answered ${statusCode}`);
      this.#seenAt = performance.now();
      return recordedIn(text);
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
