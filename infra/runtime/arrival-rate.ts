// Whether items come steadily, so that the next ones are worth waiting for.

/** The rate is measured over about this time. */
const WINDOW_MS = 100;
/** Items within the window. One order causes at most three at a time; 100 a second are ten. */
const STEADY_ITEMS = 8;

export class ArrivalRate {
  /** Items, each counted less the longer ago it came; at a steady rate, the number of items in WINDOW_MS. */
  #level = 0;
  #at = 0;

  add(items = 1): void {
    this.#level = this.#now() + items;
    this.#at = performance.now();
  }

  get steady(): boolean {
    return this.#now() >= STEADY_ITEMS;
  }

  #now(): number {
    return this.#level * Math.exp((this.#at - performance.now()) / WINDOW_MS);
  }
}
