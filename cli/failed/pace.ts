// Limits a rate per second.
import { setTimeout as sleep } from 'node:timers/promises';

const WINDOW_MS = 1_000;

export class Pace {
  readonly #perSecond: number;
  #room: number;
  #lastUseAt = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#room = perSecond;
  }

  /**
   * How many are allowed now, at least one. If the current second is used up, waits until a whole second has passed
   * since the last use: no second exceeds the rate, however the server's responses are spread. Rejects when `signal`
   * aborts.
   */
  async room(signal: AbortSignal): Promise<number> {
    if (this.#room <= 0) {
      await sleep(Math.max(0, this.#lastUseAt + WINDOW_MS - performance.now()), undefined, { signal });
      this.#room = this.#perSecond;
    }
    return this.#room;
  }

  /** Records that `done` were done just now. */
  use(done: number): void {
    if (done === 0) return;
    this.#room -= done;
    this.#lastUseAt = performance.now();
  }
}
