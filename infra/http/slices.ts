// Work in slices: a flood of requests that are ready together is handled a few milliseconds at a time. Left to itself the
// event loop handles hundreds of them in one round, and timers, the database and new connections (of which libuv accepts
// one a round) wait for a tenth of a second and more each time.

/** Milliseconds of one slice. A request takes about 0.1, so some dozens of them. */
const SLICE_MS = 5;

interface Waiting {
  /** As performance.now() tells time. */
  readonly since: number;
  readonly work: () => void;
}

export class Slices {
  #waiting: Waiting[] = [];
  #scheduled: NodeJS.Immediate | undefined;

  /** Runs `work`, which came at `since`, in the next slice that has room, in order. It must not throw. */
  push(since: number, work: () => void): void {
    this.#waiting.push({ since, work });
    this.#schedule();
  }

  /** How long the next one has waited, in milliseconds; 0 where none waits. */
  waitedMs(now: number): number {
    const [next] = this.#waiting;
    return next ? now - next.since : 0;
  }

  #schedule(): void {
    this.#scheduled ??= setImmediate(() => {
      void this.#run().finally(() => {
        this.#scheduled = undefined;
        if (this.#waiting.length > 0) this.#schedule();
      });
    });
  }

  async #run(): Promise<void> {
    const until = performance.now() + SLICE_MS;
    let done = 0;
    // What comes meanwhile stands at the end of the same array.
    try {
      while (done < this.#waiting.length && performance.now() < until) {
        this.#waiting[done++]?.work();
        await bodyRead();
      }
    } finally {
      this.#waiting = this.#waiting.slice(done);
    }
  }
}

/**
 * Resolves when a body that is here already has been read, and what is done with it at once is done. A stream that begins
 * to flow does so in the next tick, and ends in the one after that.
 */
const bodyRead = () =>
  new Promise<void>((resolve) => {
    process.nextTick(() => process.nextTick(() => process.nextTick(resolve)));
  });
