// The equation of a replay: read = ordered + rejected + failed, for lines and for invoices. Each term is counted in a
// different place (the reader, the server's responses, the rejections), so a lost line keeps the equation from closing.

export class Rejections {
  readonly #byReason = new Map<string, { count: number; first: string }>();

  add(reason: string, where: string, count = 1): void {
    const known = this.#byReason.get(reason);
    if (known) known.count += count;
    else this.#byReason.set(reason, { count, first: where });
  }

  /** The most frequent reason first. `first`: the first occurrence, a line of the file or an invoice number. */
  list() {
    return [...this.#byReason].map(([reason, known]) => ({ reason, ...known })).sort((a, b) => b.count - a.count);
  }
}

export type ListedRejections = ReturnType<Rejections['list']>;
export type Equation = ReturnType<typeof equation>;

export const sumOf = (rejections: ListedRejections): number => rejections.reduce((sum, { count }) => sum + count, 0);

/** `failed`: without a response. Empty after a successful run. */
export function equation(read: number, ordered: number, rejections: Rejections, failures: Rejections) {
  const rejected = rejections.list();
  const failed = failures.list();
  return { read, ordered, rejected, failed, closes: read === ordered + sumOf(rejected) + sumOf(failed) };
}
