// Converts a line of an invoice into an item of an order, or rejects it with a reason. Lines such as POST (postage) are
// not goods, but the customer pays for them: with a quantity and a price, they are items like any other.
import type { z } from 'zod';
import { idempotencyKey } from '../../contracts/idempotency.ts';
import { minorUnitsPerMajor } from '../../contracts/money.ts';
import { orderItem } from '../../contracts/orders.ts';
import { userId } from '../../contracts/text.ts';
import type { Cells } from './csv.ts';

/** The user for orders of unknown customers. */
const GUEST = 'guest';

/** The invoice number is sent as Idempotency-Key, so it must be a valid one. */
export const isInvoiceNumber = (value: string): boolean => idempotencyKey.safeParse(value).success;
export const isCreditNote = (invoiceNo: string): boolean => /^C/i.test(invoiceNo);

/** Judges a line by its own cells. A rejection has the first reason that applies. `at` is in milliseconds. */
export function judgeLine(cells: Cells | undefined, currency: string) {
  const rejected = (reason: string) => ({ kind: 'rejected', reason }) as const;
  if (!cells) return rejected('wrong number of columns');
  if (!isInvoiceNumber(cells.InvoiceNo)) return rejected('no invoice number');
  if (isCreditNote(cells.InvoiceNo)) return rejected('credit note');

  if (!/^-?\d+$/.test(cells.Quantity)) return rejected('unreadable quantity');
  const quantity = Number(cells.Quantity);
  if (quantity <= 0) return rejected('quantity not positive');

  const unitPrice = toMinorUnits(cells.UnitPrice, currency);
  if (unitPrice === 'unreadable') return rejected('unreadable price');
  if (unitPrice === 'too-precise') return rejected(`price with more decimals than ${currency} has`);
  if (unitPrice <= 0) return rejected('price not positive');

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
  if (!item.success) return rejected(notAllowed(item.error));
  return { kind: 'item', number: cells.InvoiceNo, userId: customer.data, at, item: item.data } as const;
}

/** The first violation, in the contract's words. */
export const notAllowed = (error: z.ZodError): string => {
  const { path, message } = error.issues[0] ?? { path: [], message: '' };
  return `not allowed in an order: ${[...path, message].join(' ')}`;
};

const DECIMAL = /^(-?)(\d*)(?:\.(\d*))?$/;

/**
 * A decimal price as an integer in the minor unit, exactly: `2.55`, `GBP` as 255. The digits are moved, never
 * multiplied (2.55 * 100 is 254.99999999999997). Zeros beyond the currency's decimals are dropped; other digits there
 * are `too-precise`, because rounding would change what the customer pays. The sign is kept. Results above 2^53-1 are
 * not exact; the caller rejects them.
 */
export function toMinorUnits(decimal: string, currency: string): number | 'unreadable' | 'too-precise' {
  const [, sign = '', whole = '', fraction = ''] = DECIMAL.exec(decimal) ?? [];
  if (whole === '' && fraction === '') return 'unreadable';
  const decimals = String(minorUnitsPerMajor(currency)).length - 1;
  if (/[^0]/.test(fraction.slice(decimals))) return 'too-precise';
  const amount = Number(whole + fraction.slice(0, decimals).padEnd(decimals, '0'));
  return sign === '-' && amount !== 0 ? -amount : amount;
}

const TIME_FORMATS = [
  /^(?<month>\d{1,2})\/(?<day>\d{1,2})\/(?<year>\d{4}|\d{2}) (?<hour>\d{1,2}):(?<minute>\d{2})(?::(?<second>\d{2}))?$/,
  /^(?<year>\d{4})-(?<month>\d{2})-(?<day>\d{2})[ T](?<hour>\d{2}):(?<minute>\d{2})(?::(?<second>\d{2})(?:\.\d+)?)?$/,
];

/**
 * The milliseconds of `12/1/10 8:26`, `12/1/2010 8:26` (month/day/year, as in the dataset) or `2010-12-01 08:26:00` (as
 * spreadsheets export it); undefined for any other text, and for days that do not exist. Only differences matter (for
 * the times of a replay), so the shop's local time is read as UTC.
 */
export function readTime(value: string): number | undefined {
  const parts = TIME_FORMATS.map((format) => format.exec(value)?.groups).find((groups) => groups !== undefined);
  const { year = '', month, day, hour, minute, second } = parts ?? {};
  const two = (part = '0') => part.padStart(2, '0');
  const date = `${year.padStart(4, '20')}-${two(month)}-${two(day)}`;
  const time = Date.parse(`${date}T${two(hour)}:${two(minute)}:${two(second)}Z`);
  // Date.parse moves 31 February into March; it is rejected instead.
  return Number.isNaN(time) || !new Date(time).toISOString().startsWith(date) ? undefined : time;
}
