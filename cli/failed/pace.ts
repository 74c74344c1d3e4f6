// At most so many a second.
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
   * How many may be done now, at least one. Where none may, waits until a whole second has passed since the last was
   * done: so no second sees more than the rate, however the server's answers are spread. Rejects when `signal` aborts.
   */
  async room(signal: AbortSignal): Promise<number> {
    if (this.#room <= 0) {
      await sleep(Math.max(0, this.#lastUseAt + WINDOW_MS - performance.now()), undefined, { signal });
      this.#room = this.#perSecond;
    }
    return this.#room;
  }

  /** That many were done, the last of them just now. */
  use(done: number): void {
    if (done === 0) return;
    this.#room -= done;
    this.#lastUseAt = performance.now();
  }
}
