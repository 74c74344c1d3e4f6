// Converts a line of an invoice into an item of an order, or rejects it with a reason. Lines such as POST (postage) are
// not goods, but the customer pays for them: with a quantity and a price, they are items like any other.
import type { z } from 'zod';
import { idempotencyKey, type OrderItem, orderItem } from '../../contracts/orders.ts';
import { userId } from '../../contracts/text.ts';
import type { Cells } from './csv.ts';
import { toMinorUnits } from './money.ts';
import { readTime } from './time.ts';

/** The user for orders of unknown customers. */
const GUEST = 'guest';

export type Judged =
  | { readonly kind: 'item'; readonly item: OrderItem; readonly userId: string; readonly at: number }
  | { readonly kind: 'rejected'; readonly reason: string };

/** The invoice number is sent as Idempotency-Key, so it must be a valid one. */
export const isInvoiceNumber = (value: string): boolean => idempotencyKey.safeParse(value).success;
export const isCreditNote = (invoiceNo: string): boolean => /^C/i.test(invoiceNo);

/** Judges a line by its own cells. A rejection has the first reason that applies. `at` is in milliseconds. */
export function judgeLine(cells: Cells, currency: string): Judged {
  const rejected = (reason: string): Judged => ({ kind: 'rejected', reason });
  if (!isInvoiceNumber(cells.InvoiceNo)) return rejected('no invoice number');
  if (isCreditNote(cells.InvoiceNo)) return rejected('credit note');

  if (!/^-?\d+$/.test(cells.Quantity)) return rejected('unreadable quantity');
  const quantity = Number(cells.Quantity);
  if (quantity <= 0) return rejected('no quantity');

  const unitPrice = toMinorUnits(cells.UnitPrice, currency);
  if (unitPrice === 'unreadable') return rejected('unreadable price');
  if (unitPrice === 'too-precise') return rejected(`price with more decimals than ${currency} has`);
  if (unitPrice <= 0) return rejected('no price');

  const at = readTime(cells.InvoiceDate);
  if (at === undefined) return rejected('unreadable date');

  const customer = userId.safeParse(cells.CustomerID || GUEST);
  if (!customer.success) return rejected(`customer ${customer.error.issues[0]?.message}`);
  const item = orderItem.safeParse({
    sku: cells.StockCode,
    ...(cells.Description && { name: cells.Description }),
    quantity,
    unitPrice,
  });
  if (!item.success) return rejected(beyondTheContract(item.error));
  return { kind: 'item', item: item.data, userId: customer.data, at };
}

/** The first violation, in the contract's words. */
export const beyondTheContract = (error: z.ZodError): string => {
  const { path, message } = error.issues[0] ?? { path: [], message: '' };
  return `not what an order may hold: ${[...path, message].join(' ')}`;
};
