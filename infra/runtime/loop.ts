// Repeated background work: the relay, the inbox's worker, sweeps, the watchdog.
import type { Logger } from 'pino';
import { backoff } from './backoff.ts';
import { FailureStreak } from './failure-streak.ts';

const FAILURE_BASE_MS = 200;
const FAILURE_MAX_MS = 10_000;

export interface LoopOptions {
  /** For the log, GET /readyz and the metrics, so one of a closed set. */
  readonly name: string;
  /**
   * One turn. After `true` the next turn starts at once; after an error, following a pause that grows per failure.
   * `woken`: wake() was called since the last turn began.
   */
  readonly turn: (woken: boolean) => Promise<unknown>;
  /** The pause after any other turn. */
  readonly everyMs: number;
  /**
   * Ends a pause of at least this length early, at a multiple of it, so that many loops share one wake-up of the thread.
   * On an idle machine, a wake-up costs more than a turn.
   */
  readonly gridMs?: number;
  readonly log: Logger;
}

/** A timer may fire this much before its time. */
const TIMER_EARLY_MS = 2;

export class Loop {
  readonly #options: LoopOptions;
  readonly #streak: FailureStreak;
  #running: Promise<void> | undefined;
  #stopping = false;
  #woken = false;
  #endPause: () => void = () => {};

  constructor(options: LoopOptions) {
    this.#options = options;
    this.#streak = new FailureStreak(options);
  }

  /** Whether the last turn threw. */
  get failing(): boolean {
    return this.#streak.failures > 0;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends the pause, so that a turn starts after this call. Does not end a pause after a failure. */
  wake(): void {
    this.#woken = true;
    if (!this.failing) this.#endPause();
  }

  /** Resolves when the running turn has ended. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#endPause();
    await this.#running;
    this.#streak.end();
  }

  async #run(): Promise<void> {
    const { name, turn, log } = this.#options;
    while (!this.#stopping) {
      const woken = this.#woken;
      this.#woken = false;
      try {
        const again = await turn(woken);
        this.#streak.succeeded();
        if (again !== true && !this.#woken) await this.#pause(this.#pauseMs());
      } catch (error) {
        if (this.#stopping) return log.debug({ loop: name, error: String(error) }, 'ended by the stop');
        const pauseMs = backoff(this.#streak.failures + 1, FAILURE_BASE_MS, FAILURE_MAX_MS);
        this.#streak.failed(error, { pauseMs });
        await this.#pause(pauseMs);
      }
    }
  }

  #pauseMs(): number {
    const { everyMs, gridMs } = this.#options;
    if (gridMs === undefined || everyMs < gridMs) return everyMs;
    const now = performance.now();
    return Math.floor((now + everyMs + TIMER_EARLY_MS) / gridMs) * gridMs - now;
  }

  #pause(ms: number): Promise<void> {
    if (this.#stopping) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#endPause(), ms);
      this.#endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
