// Counts what is not an order, by reason. Nothing is dropped without being counted here.

export interface Rejection {
  readonly reason: string;
  readonly count: number;
  /** Where it was met first: a line of the file or an invoice number. */
  readonly first: string;
}

export class Rejections {
  readonly #byReason = new Map<string, { count: number; first: string }>();

  add(reason: string, where: string, count = 1): void {
    const known = this.#byReason.get(reason);
    if (known) known.count += count;
    else this.#byReason.set(reason, { count, first: where });
  }

  addAll(others: Rejections): void {
    for (const [reason, { count, first }] of others.#byReason) this.add(reason, first, count);
  }

  get total(): number {
    let total = 0;
    for (const { count } of this.#byReason.values()) total += count;
    return total;
  }

  /** The most frequent reason first. */
  list(): Rejection[] {
    return [...this.#byReason]
      .map(([reason, { count, first }]) => ({ reason, count, first }))
      .sort((a, b) => b.count - a.count);
  }
}
