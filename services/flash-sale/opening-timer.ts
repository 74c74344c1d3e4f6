// Warms up before the openings of sales: when a sale is created or gets an early purchase, and again shortly before it
// opens, which may be days later.
//
// One timer waits for the next opening that this process knows of. The process reads the stored openings when it starts,
// when it creates a sale, and when the timer fires; otherwise it learns of openings from early purchases.
import type { Logger } from 'pino';

/** Closer to an opening than this, no warm-up starts: it would compete with the buyers. */
const LATEST_MS = 3_000;
/** V8 keeps compiled code for longer than this. */
const LEAD_MS = 10_000;
/** With a longer time, setTimeout fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

interface OpeningTimerOptions {
  /** Does nothing if it ran recently. Never rejects. */
  readonly warmUp: () => Promise<void>;
  /** Milliseconds until the first opening that is more than `afterMs` away; undefined if there is none. */
  readonly readNext: (afterMs: number) => Promise<number | undefined>;
  readonly log: Logger;
}

export class OpeningTimer {
  readonly #options: OpeningTimerOptions;
  #timer: NodeJS.Timeout | undefined;
  /** By performance.now(). */
  #firesAt = Number.POSITIVE_INFINITY;
  #stopped = false;

  constructor(options: OpeningTimerOptions) {
    this.#options = options;
  }

  start(): void {
    this.plan();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Reads the next opening. If that fails, openings are missed until the next call. */
  plan(): void {
    const { readNext, log } = this.#options;
    readNext(LEAD_MS).then(
      (opensInMs) => opensInMs !== undefined && this.#wait(opensInMs),
      (error) => {
        if (!this.#stopped)
          log.warn({ error: String(error) }, 'no warm-up before the next sale: its opening is unknown');
      },
    );
  }

  /** A sale opens in this time. Called for each early purchase, so it must be cheap. */
  expect(opensInMs: number): void {
    if (opensInMs > LATEST_MS) void this.#options.warmUp();
    this.#wait(opensInMs);
  }

  #wait(opensInMs: number): void {
    if (opensInMs <= LEAD_MS || this.#stopped) return;
    const waitMs = Math.min(opensInMs - LEAD_MS, MAX_TIMER_MS);
    const firesAt = performance.now() + waitMs;
    if (firesAt >= this.#firesAt) return;
    clearTimeout(this.#timer);
    this.#firesAt = firesAt;
    this.#timer = setTimeout(() => this.#fire(), waitMs).unref();
  }

  /** Also called after MAX_TIMER_MS (25 days) if the opening is later than that; the early warm-up is harmless. */
  #fire(): void {
    this.#firesAt = Number.POSITIVE_INFINITY;
    void this.#options.warmUp();
    this.plan();
  }
}
