// Adds up what the server answered, next to what the reader counted.
import { latencyOf } from '../shared/statistics.ts';
import { equation } from './equation.ts';
import type { Follower } from './follow.ts';
import type { Collected } from './invoices.ts';
import type { Placement } from './place.ts';
import { Rejections } from './rejections.ts';
import type { ReplayReport } from './report.ts';

export class Counters {
  readonly #collected: Collected;
  /** By id: two invoices answered with one order are one order, and the equation does not close. */
  readonly #orderIds = new Set<string>();
  #orderedLines = 0;
  #replayed = 0;
  #placements = 0;
  readonly #rejected = { lines: new Rejections(), invoices: new Rejections() };
  readonly #failed = { lines: new Rejections(), invoices: new Rejections() };

  constructor(collected: Collected) {
    this.#collected = collected;
    this.#rejected.lines.addAll(collected.rejectedLines);
    this.#rejected.invoices.addAll(collected.rejectedInvoices);
  }

  /** Invoices that have been answered or given up. */
  get placements(): number {
    return this.#placements;
  }

  add(placement: Placement): void {
    this.#placements++;
    if (placement.kind === 'ordered') {
      this.#orderIds.add(placement.order.id);
      this.#orderedLines += placement.order.items.length; // what the server says it took, not what was sent
      if (placement.replayed) this.#replayed++;
      return;
    }
    const { reason, invoice } = placement;
    const { lines, invoices } = placement.kind === 'rejected' ? this.#rejected : this.#failed;
    lines.add(reason, `invoice ${invoice.number}`, invoice.items.length);
    invoices.add(reason, `invoice ${invoice.number}`);
  }

  report(file: string, placingMs: number, follower: Follower): ReplayReport {
    const { linesRead, invoicesRead } = this.#collected;
    const ordered = this.#orderIds.size;
    return {
      file,
      lines: equation(linesRead, this.#orderedLines, this.#rejected.lines, this.#failed.lines),
      invoices: equation(invoicesRead, ordered, this.#rejected.invoices, this.#failed.invoices),
      orders: {
        placed: ordered - this.#replayed,
        alreadyThere: this.#replayed,
        completed: follower.completedAfterMs.length,
        incomplete: follower.incomplete(),
      },
      placingMs,
      completedAfterMs: latencyOf(follower.completedAfterMs) ?? null,
    };
  }
}
