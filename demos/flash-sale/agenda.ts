// Future items by time, with one timer for all of them. Thousands of timers would take CPU time
// from the system that the buyers visit.
import TinyQueue from 'tinyqueue';

export class Agenda<T> {
  readonly #onDue: (item: T, at: number) => void;
  readonly #entries = new TinyQueue<{ readonly at: number; readonly item: T }>([], (a, b) => a.at - b.at);
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  /** `onDue` gets each item once, at its time by performance.now(), in the order of the times. */
  constructor(onDue: (item: T, at: number) => void) {
    this.#onDue = onDue;
  }

  add(at: number, item: T): void {
    this.#entries.push({ at, item });
    this.#arm();
  }

  /** Drops all items that are not due yet. */
  clear(): void {
    while (this.#entries.length > 0) this.#entries.pop();
    clearTimeout(this.#timer);
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    const first = this.#entries.peek();
    if (!first || first.at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = first.at;
    this.#timer = setTimeout(() => this.#wake(), Math.max(0, first.at - performance.now()));
  }

  #wake(): void {
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = performance.now();
    for (let first = this.#entries.peek(); first && first.at <= now; first = this.#entries.peek()) {
      this.#entries.pop();
      this.#onDue(first.item, first.at);
    }
    this.#arm();
  }
}
