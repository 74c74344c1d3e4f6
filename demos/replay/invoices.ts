// Groups lines into invoices. All are held in memory before the first order is placed, because the lines of an invoice
// need not be adjacent. The reader bounds the lines, and so the memory.
import { type OrderItem, placeOrderRequest } from '../../contracts/orders.ts';
import type { CsvLine } from './csv.ts';
import { isCreditNote, isInvoiceNumber, judgeLine, notAllowed, type Reading } from './line.ts';

export interface Invoice {
  readonly number: string;
  readonly userId: string;
  /** When its first item was written, in milliseconds of the shop's clock. */
  readonly at: number;
  readonly items: OrderItem[];
}

export type Collected = Awaited<ReturnType<typeof collectInvoices>>;

/**
 * Each line and invoice of the file is then either in `invoices`, sorted by the time of writing, or in the rejections.
 * Calls `onLine` for each line, with the number of lines read so far.
 */
export async function collectInvoices(
  lines: AsyncIterable<CsvLine> | Iterable<CsvLine>,
  reading: Reading,
  onLine: (linesRead: number) => void = () => {},
) {
  const seen = new Set<string>();
  const byNumber = new Map<string, Invoice>();
  const rejectedLines = new Rejections();
  const damagedLines = new Rejections();
  let linesRead = 0;
  for await (const { number: line, cells, damaged } of lines) {
    onLine(++linesRead);
    if (damaged !== undefined) damagedLines.add(damaged, `line ${line}`);
    const reject = (reason: string, shown?: string) =>
      rejectedLines.add(reason, shown === undefined ? `line ${line}` : `line ${line}: ${shown}`);
    if (cells && isInvoiceNumber(cells.InvoiceNo)) seen.add(cells.InvoiceNo);
    const judged = judgeLine(cells, reading);
    if (judged.kind === 'rejected') {
      reject(judged.reason, judged.shown);
      continue;
    }
    const { number, userId, at, item } = judged;
    const invoice = byNumber.get(number);
    if (!invoice) byNumber.set(number, { number, userId, at, items: [item] });
    else if (invoice.userId === userId) invoice.items.push(item);
    else reject("customer differs from that of the invoice's first item");
  }
  const judged = judgeInvoices(seen, byNumber, rejectedLines);
  return { linesRead, invoicesRead: seen.size, damagedLines, rejectedLines, ...judged };
}

/** Separates the invoices that can be ordered. All lines of an invoice that exceeds an order's bounds are rejected. */
function judgeInvoices(seen: ReadonlySet<string>, byNumber: ReadonlyMap<string, Invoice>, rejectedLines: Rejections) {
  const rejectedInvoices = new Rejections();
  const invoices: Invoice[] = [];
  for (const number of seen) {
    const where = `invoice ${number}`;
    const invoice = byNumber.get(number);
    if (!invoice) {
      rejectedInvoices.add(isCreditNote(number) ? 'credit note' : 'nothing to sell', where);
      continue;
    }
    const items = placeOrderRequest.shape.items.safeParse(invoice.items);
    if (items.success) invoices.push(invoice);
    else {
      const reason = notAllowed(items.error);
      rejectedInvoices.add(reason, where);
      rejectedLines.add(reason, where, invoice.items.length);
    }
  }
  invoices.sort((a, b) => a.at - b.at);
  return { invoices, rejectedInvoices };
}

/** The rejections of lines or invoices, by reason. */
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
