// Work in slices: a flood of requests that are ready together is handled a few milliseconds at a time. Left to itself the
// event loop handles hundreds of them in one round, and timers, the database and new connections (of which libuv accepts
// one a round) wait for a tenth of a second and more each time.

/** Milliseconds of one slice. A request takes about 0.1, so some dozens of them. */
const SLICE_MS = 5;

export class Slices {
  #waiting: (() => void)[] = [];
  #scheduled = false;

  /** Runs `work` in the next slice that has room, in order. `work` must not throw. */
  push(work: () => void): void {
    this.#waiting.push(work);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#run();
    });
  }

  #run(): void {
    const waiting = this.#waiting;
    const until = performance.now() + SLICE_MS;
    let next = 0;
    while (next < waiting.length && performance.now() < until) waiting[next++]?.();
    // What came meanwhile stands at the end of the same array.
    this.#waiting = waiting.slice(next);
    if (this.#waiting.length > 0) this.#schedule();
  }
}
