// Reads from a server again and again until a condition holds. Failed reads are tolerated for a while, because a server
// under load or in an outage misses some.
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError } from './errors.ts';

/** Failed reads for this long end the polling. */
const SILENT_FOR_MS = 30_000;

export class Poller<T> {
  readonly #read: () => Promise<T>;
  readonly #everyMs: number;
  readonly #signal: AbortSignal;

  /** `read` rejects with a CliError if the server does not respond. */
  constructor(read: () => Promise<T>, everyMs: number, signal: AbortSignal) {
    this.#read = read;
    this.#everyMs = everyMs;
    this.#signal = signal;
  }

  /**
   * Resolves with true when a value makes `done` true, with false once `deadline`, by performance.now(), has passed.
   * Rejects when the signal aborts, and with the error of the last read after 30 s without a value.
   */
  async until(done: (value: T) => boolean, deadline = Number.POSITIVE_INFINITY): Promise<boolean> {
    for (let seenAt = performance.now(); ; ) {
      try {
        const value = await this.#read();
        seenAt = performance.now();
        if (done(value)) return true;
      } catch (error) {
        this.#signal.throwIfAborted();
        if (!(error instanceof CliError) || performance.now() - seenAt > SILENT_FOR_MS) throw error;
      }
      if (performance.now() > deadline) return false;
      await sleep(this.#everyMs, undefined, { signal: this.#signal }).catch(() => this.#signal.throwIfAborted());
    }
  }

  /** Reads while `work` goes on, and calls `onValue` with each value. */
  async during<R>(work: Promise<R>, onValue: (value: T) => void = () => {}): Promise<R> {
    let over = false;
    const ended = work.finally(() => {
      over = true;
    });
    ended.catch(() => {}); // awaited below, unless reading fails before
    await this.until((value) => {
      onValue(value);
      return over;
    });
    return ended;
  }
}
