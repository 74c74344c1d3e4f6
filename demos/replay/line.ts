// Converts a line of an invoice into an item of an order, or rejects it with a reason. Lines such as POST (postage) are
// not goods, but the customer pays for them: with a quantity and a price, they are items like any other.
import type { z } from 'zod';
import { minorUnitsPerMajor } from '../../contracts/money.ts';
import { idempotencyKey, orderItem } from '../../contracts/orders.ts';
import { userId } from '../../contracts/text.ts';
import type { Cells } from './csv.ts';
import { DATE_FORMS, type DateOrder, readTime } from './dates.ts';
import { type NumberForm, plainInteger, plainNumber } from './numbers.ts';

/** The user for orders of unknown customers. */
const GUEST = 'guest';

/** The invoice number is sent as Idempotency-Key, so it must be a valid one. */
export const isInvoiceNumber = (value: string): boolean => idempotencyKey.safeParse(value).success;
export const isCreditNote = (invoiceNo: string): boolean => /^C/i.test(invoiceNo);

/** What the cells mean in this file. */
export interface Reading {
  readonly currency: string;
  readonly dateOrder: DateOrder;
  readonly numbers: NumberForm;
}

/**
 * Judges a line by its own cells. A rejection has the first reason that applies, and shows the cell that cannot be read.
 * `at` is in milliseconds.
 */
export function judgeLine(cells: Cells | undefined, { currency, dateOrder, numbers }: Reading) {
  const rejected = (reason: string, shown?: string) => ({ kind: 'rejected', reason, shown }) as const;
  if (!cells) return rejected('wrong number of columns');
  if (!isInvoiceNumber(cells.InvoiceNo)) return rejected('no invoice number');
  if (isCreditNote(cells.InvoiceNo)) return rejected('credit note');

  const quantity = Number(plainInteger(cells.Quantity, numbers) ?? Number.NaN);
  if (Number.isNaN(quantity)) return rejected('unreadable quantity', quoted(cells.Quantity));
  if (quantity <= 0) return rejected('quantity not positive');

  const unitPrice = toMinorUnits(plainNumber(cells.UnitPrice, numbers), currency);
  if (unitPrice === 'unreadable') return rejected('unreadable price', quoted(cells.UnitPrice));
  if (unitPrice === 'too-precise')
    return rejected(`price with more decimals than ${currency} has`, quoted(cells.UnitPrice));
  if (unitPrice <= 0) return rejected('price not positive');

  const at = readTime(cells.InvoiceDate, dateOrder);
  if (at === undefined) return rejected('unreadable date', `${quoted(cells.InvoiceDate)} is none of ${DATE_FORMS}`);

  const customer = userId.safeParse(cells.CustomerID || GUEST);
  if (!customer.success) return rejected(`customer ${customer.error.issues[0]?.message}`, quoted(cells.CustomerID));
  const item = orderItem.safeParse({
    sku: cells.StockCode,
    ...(cells.Description && { name: cells.Description }),
    quantity,
    unitPrice,
  });
  if (!item.success) return rejected(notAllowed(item.error));
  return { kind: 'item', number: cells.InvoiceNo, userId: customer.data, at, item: item.data } as const;
}

/** The first violation, in the contract's words. */
export const notAllowed = (error: z.ZodError): string => {
  const { path, message } = error.issues[0] ?? { path: [], message: '' };
  return `not allowed in an order: ${[...path, message].join(' ')}`;
};

const LONGEST_SHOWN = 40;
const quoted = (cell: string): string => `"${cell.length > LONGEST_SHOWN ? `${cell.slice(0, LONGEST_SHOWN)}…` : cell}"`;

/**
 * A plain number as an integer in the minor unit, exactly: `2.55`, `GBP` as 255. The digits are moved, never
 * multiplied (2.55 * 100 is 254.99999999999997). Zeros beyond the currency's decimals are dropped; other digits there
 * are `too-precise`, because rounding would change what the customer pays. The sign is kept. Results above 2^53-1 are
 * not exact; the caller rejects them.
 */
export function toMinorUnits(plain: string | undefined, currency: string): number | 'unreadable' | 'too-precise' {
  if (plain === undefined) return 'unreadable';
  const [unsigned = '', sign] = plain.startsWith('-') ? [plain.slice(1), '-'] : [plain, ''];
  const [whole = '', fraction = ''] = unsigned.split('.');
  const decimals = String(minorUnitsPerMajor(currency)).length - 1;
  if (/[^0]/.test(fraction.slice(decimals))) return 'too-precise';
  const amount = Number(whole + fraction.slice(0, decimals).padEnd(decimals, '0'));
  return sign === '-' && amount !== 0 ? -amount : amount;
}
