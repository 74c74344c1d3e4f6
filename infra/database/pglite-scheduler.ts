// Decides which statement PGlite runs next: one at a time, and neither lane waits for ever.
import { setImmediate } from 'node:timers/promises';

/** Foreground: a client waits for the result. */
export type Lane = 'foreground' | 'background';

/**
 * Database time that the background gets per millisecond of the foreground while both have work waiting. A foreground
 * statement comes with three times as much HTTP work in the same thread, so this is about an even share.
 */
const BACKGROUND_WEIGHT = 4;

/**
 * How long the database may work before the event loop's sockets and timers get a turn: as long as their last turn
 * took, within these bounds. PGlite resolves without leaving the current task, so without a limit it would block the
 * thread; with one statement per turn of the event loop, a flood of requests that need no database would leave it only
 * a few statements a second.
 */
const MIN_SHARE_MS = 0.5;
const MAX_SHARE_MS = 25;

export class LaneScheduler {
  readonly #waiting: Record<Lane, (() => Promise<void>)[]> = { foreground: [], background: [] };
  /** Milliseconds used by each lane since both last had work waiting. */
  readonly #usedMs: Record<Lane, number> = { foreground: 0, background: 0 };
  #running = false;
  #shareMs = MIN_SHARE_MS;

  /** Resolves with the result of `work`, which runs alone. */
  run<T>(lane: Lane, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting[lane].push(() => work().then(resolve, reject));
      if (!this.#running) void this.#drain();
    });
  }

  async #drain(): Promise<void> {
    this.#running = true;
    let since = performance.now();
    for (;;) {
      const lane = this.#nextLane();
      const work = this.#waiting[lane].shift();
      if (!work) break;
      const startedAt = performance.now();
      await work();
      // The caller may queue its next statement before the next one is chosen.
      await new Promise<void>((resolve) => process.nextTick(resolve));
      const doneAt = performance.now();
      this.#usedMs[lane] += doneAt - startedAt;
      if (doneAt - since < this.#shareMs) continue;
      await setImmediate();
      since = performance.now();
      this.#shareMs = Math.min(MAX_SHARE_MS, Math.max(MIN_SHARE_MS, since - doneAt));
    }
    this.#running = false;
  }

  #nextLane(): Lane {
    const { foreground, background } = this.#waiting;
    if (foreground.length > 0 && background.length > 0)
      return this.#usedMs.foreground * BACKGROUND_WEIGHT <= this.#usedMs.background ? 'foreground' : 'background';
    // A lane that runs alone saves up no time.
    this.#usedMs.foreground = 0;
    this.#usedMs.background = 0;
    return foreground.length > 0 ? 'foreground' : 'background';
  }
}
