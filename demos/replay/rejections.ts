// Counts rejected lines and invoices by reason. Everything that is not ordered is counted here.

export interface Rejection {
  readonly reason: string;
  readonly count: number;
  /** The first occurrence: a line of the file or an invoice number. */
  readonly first: string;
}

export const sumOf = (rejections: readonly { readonly count: number }[]): number =>
  rejections.reduce((sum, { count }) => sum + count, 0);

export class Rejections {
  readonly #byReason = new Map<string, { count: number; first: string }>();

  add(reason: string, where: string, count = 1): void {
    const known = this.#byReason.get(reason);
    if (known) known.count += count;
    else this.#byReason.set(reason, { count, first: where });
  }

  get total(): number {
    return sumOf([...this.#byReason.values()]);
  }

  /** The most frequent reason first. */
  list(): Rejection[] {
    return [...this.#byReason]
      .map(([reason, { count, first }]) => ({ reason, count, first }))
      .sort((a, b) => b.count - a.count);
  }
}
