// Warms up before the openings of sales: when a sale is created or gets an early purchase, and again shortly before it
// opens, which may be days later.
//
// One timer waits for the next opening that this process knows of. The process reads the stored openings when it starts,
// when it creates a sale, when the timer fires, and, if other processes create sales too, every POLL_MS.
import type { Logger } from 'pino';
import { Loop } from '../../infra/runtime/loop.ts';

/** Closer to an opening than this, no warm-up starts: it would compete with the buyers. */
const LATEST_MS = 3_000;
/** V8 keeps compiled code for longer than this. */
const LEAD_MS = 10_000;
/** A sale that another process creates this long plus LATEST_MS before it opens is noticed in time. */
const POLL_MS = 2_000;
/** With a longer time, setTimeout fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

interface OpeningTimerOptions {
  /** Does nothing if it ran recently. Never rejects. */
  readonly warmUp: () => Promise<void>;
  /** Milliseconds until the first opening that is more than `afterMs` away; undefined if there is none. */
  readonly readNext: (afterMs: number) => Promise<number | undefined>;
  /** Whether other processes create sales. The embedded system must not wake up for them. */
  readonly polls: boolean;
  readonly log: Logger;
}

export class OpeningTimer {
  readonly #options: OpeningTimerOptions;
  readonly #loop: Loop | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** By performance.now(). */
  #firesAt = Number.POSITIVE_INFINITY;
  #stopped = false;

  constructor(options: OpeningTimerOptions) {
    this.#options = options;
    const { polls, log } = options;
    const turn = () => this.#readOpenings();
    this.#loop = polls ? new Loop({ name: 'openings of sales', everyMs: POLL_MS, turn, log }) : undefined;
  }

  start(): void {
    if (this.#loop) this.#loop.start();
    else this.plan();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#loop?.stop();
  }

  /** Reads the next opening. If that fails, openings are missed until they are read again. */
  plan(): void {
    this.#readOpenings().catch((error) => {
      if (!this.#stopped)
        this.#options.log.warn({ error: String(error) }, 'no warm-up before the next sale: its opening is unknown');
    });
  }

  async #readOpenings(): Promise<void> {
    const { readNext, warmUp } = this.#options;
    const next = await readNext(LATEST_MS);
    if (next === undefined || this.#stopped) return;
    if (next > LEAD_MS) return this.#wait(next);
    void warmUp();
    const later = await readNext(LEAD_MS);
    if (later !== undefined) this.#wait(later);
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
