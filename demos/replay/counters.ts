// Counts the server's responses, next to the counts of the CSV reader. For lines and for invoices, an equation compares
// them: read = ordered + rejected + failed. Each term is counted in a different place (the reader, the server's
// responses, the rejections), so the equation does not hold if a line is lost.
import { latencyOf } from '../shared/statistics.ts';
import type { Follower } from './follow.ts';
import { type Collected, type ListedRejections, Rejections } from './invoices.ts';
import type { Placement } from './place.ts';

export class Counters {
  readonly #collected: Collected;
  /** A set of ids: if two invoices get the same order, it counts once and the equation does not hold. */
  readonly #orderIds = new Set<string>();
  #orderedLines = 0;
  #replayed = 0;
  /** Invoices that got a response or failed. */
  placements = 0;
  /** Begins with the rejections of the CSV reader. */
  readonly #rejected: { readonly lines: Rejections; readonly invoices: Rejections };
  readonly #failed = { lines: new Rejections(), invoices: new Rejections() };

  constructor(collected: Collected) {
    this.#collected = collected;
    this.#rejected = { lines: collected.rejectedLines, invoices: collected.rejectedInvoices };
  }

  add(placement: Placement): void {
    this.placements++;
    if (placement.kind === 'ordered') {
      this.#orderIds.add(placement.order.id);
      this.#orderedLines += placement.order.items.length; // the lines that the server accepted, not those sent
      if (placement.replayed) this.#replayed++;
      return;
    }
    const { reason, invoice } = placement;
    const { lines, invoices } = placement.kind === 'rejected' ? this.#rejected : this.#failed;
    lines.add(reason, `invoice ${invoice.number}`, invoice.items.length);
    invoices.add(reason, `invoice ${invoice.number}`);
  }

  /** `placingMs`: from the first request to the last response. */
  report(placingMs: number, follower: Follower) {
    const { linesRead, invoicesRead } = this.#collected;
    const ordered = this.#orderIds.size;
    return {
      lines: equation(linesRead, this.#orderedLines, this.#rejected.lines, this.#failed.lines),
      invoices: equation(invoicesRead, ordered, this.#rejected.invoices, this.#failed.invoices),
      orders: {
        /** By this run. */
        placed: ordered - this.#replayed,
        /** By an earlier run: the same invoice number returns the same order. */
        alreadyThere: this.#replayed,
        completed: follower.completedAfterMs.length,
        incomplete: Array.from(follower.incomplete, ([id, state]) => ({ id, state })),
      },
      placingMs,
      /** From acceptance to the last step of an order, by the database's clock; null if none is completed. */
      completedAfterMs: latencyOf(follower.completedAfterMs) ?? null,
    };
  }
}

export const sumOf = (rejections: ListedRejections): number => rejections.reduce((sum, { count }) => sum + count, 0);

export type Equation = ReturnType<typeof equation>;

/** `failed`: the server was unavailable. Empty after a successful run. */
export function equation(read: number, ordered: number, rejections: Rejections, failures: Rejections) {
  const rejected = rejections.list();
  const failed = failures.list();
  return { read, ordered, rejected, failed, holds: read === ordered + sumOf(rejected) + sumOf(failed) };
}
