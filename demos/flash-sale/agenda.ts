// Future items in a heap by time, with one timer for all of them. A timer for each of thousands of buyers would take CPU
// time from the system that they visit.

interface Entry<T> {
  readonly at: number;
  readonly item: T;
}

export class Agenda<T> {
  readonly #onDue: (item: T, at: number) => void;
  /** A binary heap: no entry is later than the two at twice its index plus one and plus two. */
  readonly #heap: Entry<T>[] = [];
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  /** `onDue` gets each item once, at its time by performance.now(), in the order of the times. */
  constructor(onDue: (item: T, at: number) => void) {
    this.#onDue = onDue;
  }

  add(at: number, item: T): void {
    this.#push({ at, item });
    this.#arm();
  }

  /** Drops all items that are not due yet. */
  clear(): void {
    this.#heap.length = 0;
    clearTimeout(this.#timer);
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    const [first] = this.#heap;
    if (!first || first.at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = first.at;
    this.#timer = setTimeout(() => this.#wake(), Math.max(0, first.at - performance.now()));
  }

  #wake(): void {
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = performance.now();
    for (let [first] = this.#heap; first && first.at <= now; [first] = this.#heap) {
      this.#pop();
      this.#onDue(first.item, first.at);
    }
    this.#arm();
  }

  #push(entry: Entry<T>): void {
    let index = this.#heap.push(entry) - 1;
    for (let above = (index - 1) >> 1; index > 0; above = (index - 1) >> 1) {
      const parent = this.#heap[above];
      if (!parent || parent.at <= entry.at) break;
      this.#heap[index] = parent;
      index = above;
    }
    this.#heap[index] = entry;
  }

  #pop(): void {
    const last = this.#heap.pop();
    if (!last || this.#heap.length === 0) return;
    let index = 0;
    for (;;) {
      const left = this.#heap[2 * index + 1];
      const right = this.#heap[2 * index + 2];
      const earlier = right && left && right.at < left.at ? right : left;
      if (!earlier || earlier.at >= last.at) break;
      this.#heap[index] = earlier;
      index = earlier === left ? 2 * index + 1 : 2 * index + 2;
    }
    this.#heap[index] = last;
  }
}
