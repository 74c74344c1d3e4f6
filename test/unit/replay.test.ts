import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { equation, sumOf } from '../../demos/replay/counters.ts';
import type { Cells, CsvLine } from '../../demos/replay/csv.ts';
import { type DateOrder, readTime } from '../../demos/replay/dates.ts';
import { collectInvoices, Rejections } from '../../demos/replay/invoices.ts';
import { judgeLine, toMinorUnits } from '../../demos/replay/line.ts';
import { type DecimalMark, plainId, plainInteger, plainNumber } from '../../demos/replay/numbers.ts';
import { readFile } from '../setup/replay.ts';

const sample = new URL('../../samples/online-retail-2010-12-01_to_03.csv', import.meta.url).pathname;
const POINT = { mark: '.', grouped: false } as const;
const reading = { currency: 'GBP', dateOrder: 'mdy', numbers: POINT } as const;

const mug: Cells = {
  InvoiceNo: '536365',
  StockCode: '85123A',
  Description: 'WHITE MUG',
  Quantity: '6',
  InvoiceDate: '12/1/10 8:26',
  UnitPrice: '2.55',
  CustomerID: '17850',
};
const reasonFor = (change: Partial<Cells>, currency = 'GBP') => {
  const judged = judgeLine({ ...mug, ...change }, { ...reading, currency });
  return judged.kind === 'rejected' ? judged.reason : 'item';
};
const linesOf = (...changes: Partial<Cells>[]): CsvLine[] =>
  changes.map((change, index) => ({ number: index + 2, cells: { ...mug, ...change } }));
const counts = (rejections: Rejections) =>
  Object.fromEntries(rejections.list().map(({ reason, count }) => [reason, count] as const));

describe('the sample', () => {
  test('is accounted for, line by line and invoice by invoice', async () => {
    const collected = await readFile(sample);
    const ordered = collected.invoices.reduce((sum, { items }) => sum + items.length, 0);
    expect(collected.linesRead).toBe(7_419);
    expect(ordered).toBe(7_290);
    expect(counts(collected.rejectedLines)).toEqual({
      'credit note': 84,
      'quantity not positive': 30,
      'price not positive': 15,
    });
    expect(collected.invoicesRead).toBe(418);
    expect(collected.invoices).toHaveLength(337);
    expect(counts(collected.rejectedInvoices)).toEqual({ 'credit note': 36, 'nothing to sell': 45 });
  });

  test('is sorted by the time of the invoices', async () => {
    const { invoices } = await readFile(sample);
    const times = invoices.map(({ at }) => at);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(times[0]).toBe(Date.UTC(2010, 11, 1, 8, 26));
  });
});

describe('a price', () => {
  test.each([
    ['2.55', 'GBP', 255],
    ['2.1', 'GBP', 210],
    ['7', 'GBP', 700],
    ['.5', 'GBP', 50],
    ['2.5500', 'GBP', 255],
    ['-11062.06', 'GBP', -1_106_206],
    ['2.555', 'KWD', 2_555],
    ['1200', 'JPY', 1_200],
    ['1200.00', 'JPY', 1_200],
    ['0.001', 'GBP', 'too-precise'],
    ['1.5', 'JPY', 'too-precise'],
    ['', 'GBP', 'unreadable'],
    ['.', 'GBP', 'unreadable'],
    ['-', 'GBP', 'unreadable'],
    ['1,5', 'GBP', 'unreadable'],
    ['1e3', 'GBP', 100_000],
    ['2.55e0', 'GBP', 255],
    ['1e-05', 'GBP', 'too-precise'],
    ['e3', 'GBP', 'unreadable'],
  ])('%s %s is %s', (decimal, currency, expected) => {
    expect(toMinorUnits(plainNumber(decimal, POINT), currency)).toBe(expected);
  });

  test('keeps every digit of any amount', () => {
    fc.assert(
      fc.property(fc.nat({ max: 1_000_000_000 }), (pence) => {
        const digits = String(pence).padStart(3, '0');
        expect(toMinorUnits(`${digits.slice(0, -2)}.${digits.slice(-2)}`, 'GBP')).toBe(pence);
      }),
    );
  });
});

describe('a number', () => {
  test.each<[string, DecimalMark, string | undefined]>([
    ['6', '.', '6'],
    ['6.0', '.', '6'],
    ['6.', '.', '6'],
    ['+6', '.', '6'],
    ['-6.00', '.', '-6'],
    ['1e3', '.', '1000'],
    ['1.25E+02', '.', '125'],
    ['1200e-2', '.', '12'],
    ['1,234', '.', '1234'],
    ['1,234,567.0', '.', '1234567'],
    ['1 234', '.', '1234'],
    ["1'234.0", '.', '1234'],
    ['6,0', ',', '6'],
    ['1.234', ',', '1234'],
    ['1.234.567,00', ',', '1234567'],
    ['1\u202f234,0', ',', '1234'],
    ['12,34', '.', undefined],
    ['1,2345', '.', undefined],
    ['1,234 567', '.', undefined],
    ['6.5', '.', undefined],
    ['6,5', ',', undefined],
    ['1e-1', '.', undefined],
    ['six', '.', undefined],
    ['', '.', undefined],
    ['.', '.', undefined],
    ['+', '.', undefined],
  ])('%j with the decimal mark %j is the integer %s', (text, mark, expected) => {
    expect(plainInteger(text, { mark, grouped: true })).toBe(expected);
  });

  test('is not grouped if the file does not prove that', () => {
    expect(plainNumber('1,234', POINT)).toBeUndefined();
    expect(plainNumber('1.234', POINT)).toBe('1.234');
  });

  test.each<[string, DecimalMark, string]>([
    ['17850', '.', '17850'],
    ['17850.0', '.', '17850'],
    ['17850,0', ',', '17850'],
    ['17,850', '.', '17850'],
    ['17.850', ',', '17850'],
    ['00042', '.', '00042'],
    ['17850.0', ',', '17850'],
    ['17850,0', '.', '17850'],
    ['17850.5', '.', '17850.5'],
    ['85123A', '.', '85123A'],
    ['ann.0', '.', 'ann.0'],
  ])('%j as an id with the decimal mark %j is %s', (text, mark, expected) => {
    expect(plainId(text, { mark, grouped: true })).toBe(expected);
  });

  test('keeps every digit in any notation', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 0, max: 12 }), (value, exponent) => {
        const digits = String(value);
        const shifted = `${digits[0]}.${digits.slice(1) || '0'}e${digits.length - 1}`;
        expect(plainInteger(shifted, POINT)).toBe(digits);
        expect(plainInteger(`${digits}e${exponent}`, POINT)).toBe(digits + '0'.repeat(exponent));
        const grouped = value.toLocaleString('de-DE');
        expect(plainInteger(grouped, { mark: ',', grouped: true })).toBe(digits);
      }),
    );
  });
});

describe('a date', () => {
  const morning = Date.UTC(2010, 11, 1, 8, 26);
  test.each<[string, DateOrder, number | undefined]>([
    ['12/1/10 8:26', 'mdy', morning],
    ['12/1/2010 8:26', 'mdy', morning],
    ['12/1/2010 8:26:00 AM', 'mdy', morning],
    ['12/1/2010, 8:26 pm', 'mdy', Date.UTC(2010, 11, 1, 20, 26)],
    ['12/1/2010, 8:26:00\u202fAM', 'mdy', morning],
    ['12/1/2010 12:26 AM', 'mdy', Date.UTC(2010, 11, 1, 0, 26)],
    ['01/12/2010 08:26', 'dmy', morning],
    ['01-12-2010 08:26', 'dmy', morning],
    ['1.12.10 8:26', 'dmy', morning],
    ['1.12.2010', 'dmy', Date.UTC(2010, 11, 1)],
    ['10-12-01 08:26', 'ymd', morning],
    ['2010-12-01 08:26:00', 'dmy', morning],
    ['2010-12-01T08:26:00.000Z', 'mdy', morning],
    ['2010-12-01 08:26:00+00:00', 'ymd', morning],
    ['2010-12-01T10:26+0200', 'ymd', morning],
    ['2010/12/1 8:26', 'mdy', morning],
    ['2010-12-01', 'mdy', Date.UTC(2010, 11, 1)],
    ['1-Dec-2010 8:26', 'mdy', morning],
    ['01 december 10 08.26', 'dmy', morning],
    ['13.12.2010 08.26.00', 'dmy', Date.UTC(2010, 11, 13, 8, 26)],
    ['1-Dex-2010 8:26', 'mdy', undefined],
    ['31-Jun-2010', 'mdy', undefined],
    ['31/12/10 8:26', 'mdy', undefined],
    ['12/31/10 8:26', 'dmy', undefined],
    ['2/30/11 8:26', 'mdy', undefined],
    ['12/1/10 24:61', 'mdy', undefined],
    ['12/1/10 13:00 PM', 'mdy', undefined],
    ['12/1-10 8:26', 'mdy', undefined],
    ['12/1/210 8:26', 'mdy', undefined],
    ['12/1/2010 8:26', 'ymd', undefined],
    ['yesterday', 'mdy', undefined],
    ['', 'mdy', undefined],
  ])('%j in the order %s is read as %s', (text, order, expected) => {
    expect(readTime(text, order)).toBe(expected);
  });
});

describe('a line', () => {
  test('is an item with an integer price, bought by its customer', () => {
    expect(judgeLine(mug, reading)).toMatchObject({
      kind: 'item',
      userId: '17850',
      item: { sku: '85123A', name: 'WHITE MUG', quantity: 6, unitPrice: 255 },
    });
  });

  test('without a customer is bought by guest, and without a description has no name', () => {
    const judged = judgeLine({ ...mug, CustomerID: '', Description: '' }, reading);
    expect(judged).toMatchObject({ userId: 'guest', item: { sku: '85123A', quantity: 6, unitPrice: 255 } });
    expect(judged).not.toHaveProperty('item.name');
  });

  test('for postage is an item like any other', () => {
    expect(reasonFor({ StockCode: 'POST', Description: 'POSTAGE', Quantity: '1', UnitPrice: '18' })).toBe('item');
  });

  test.each<[Partial<Cells>, string]>([
    [{ InvoiceNo: '' }, 'no invoice number'],
    [{ InvoiceNo: 'Ünvoice' }, 'no invoice number'],
    [{ InvoiceNo: 'C536365', Quantity: '-6' }, 'credit note'],
    [{ InvoiceNo: 'C536365', Quantity: 'six' }, 'credit note'],
    [{ Quantity: '-10', UnitPrice: '0' }, 'quantity not positive'],
    [{ Quantity: '0' }, 'quantity not positive'],
    [{ Quantity: '1.5' }, 'unreadable quantity'],
    [{ Quantity: '' }, 'unreadable quantity'],
    [{ UnitPrice: '0' }, 'price not positive'],
    [{ UnitPrice: '-11062.06' }, 'price not positive'],
    [{ UnitPrice: '0.001' }, 'price with more decimals than GBP has'],
    [{ UnitPrice: 'free' }, 'unreadable price'],
    [{ InvoiceDate: '' }, 'unreadable date'],
    [{ CustomerID: 'a b' }, 'customer must be 1 to 64 characters of A-Z a-z 0-9 _ . : @ -'],
  ])('%j is rejected: %s', (change, reason) => {
    expect(reasonFor(change)).toBe(reason);
  });

  test('that is rejected shows the cell, and the forms that a date can have', async () => {
    const changes = [{ Quantity: 'six' }, { UnitPrice: '£2' }, { InvoiceDate: '1 Dec' }, { CustomerID: 'x y' }];
    const { rejectedLines } = await collectInvoices(linesOf(...changes), reading);
    const firsts = Object.fromEntries(rejectedLines.list().map(({ reason, first }) => [reason, first]));
    expect(firsts).toMatchObject({
      'unreadable quantity': 'line 2: "six"',
      'unreadable price': 'line 3: "£2"',
      'unreadable date': expect.stringMatching(/^line 4: "1 Dec" is none of 2010-12-01 08:26:00, 12\/1\/2010 8:26, /),
    });
    expect(JSON.stringify(firsts)).toContain('line 5: \\"x y\\"');
  });

  test.each<Partial<Cells>>([
    { Quantity: '1000001' },
    { UnitPrice: '10000000.01' },
    { UnitPrice: '9'.repeat(400) },
    { StockCode: '' },
    { StockCode: 'x'.repeat(65) },
    { Description: 'x'.repeat(201) },
    { Description: 'a\u0000b' },
  ])('beyond the bounds of the contract is rejected before it is sent', (change) => {
    expect(reasonFor(change)).toMatch(/^not allowed in an order: (sku|name|quantity|unitPrice) /);
  });
});

describe('an invoice', () => {
  test('may have lines that are not adjacent', async () => {
    const lines = linesOf({ StockCode: 'A' }, { InvoiceNo: '2', StockCode: 'B' }, { StockCode: 'C' });
    const { invoices } = await collectInvoices(lines, reading);
    expect(invoices.map(({ number, items }) => [number, items.map(({ sku }) => sku)])).toEqual([
      ['536365', ['A', 'C']],
      ['2', ['B']],
    ]);
  });

  test('keeps a duplicate line', async () => {
    const { invoices } = await collectInvoices(linesOf({}, {}), reading);
    expect(invoices[0]?.items).toHaveLength(2);
  });

  test('has one customer: a line with another customer is rejected', async () => {
    const { invoices, rejectedLines } = await collectInvoices(linesOf({}, { CustomerID: '1' }), reading);
    expect(invoices[0]?.items).toHaveLength(1);
    expect(counts(rejectedLines)).toEqual({ "customer differs from that of the invoice's first item": 1 });
  });

  test('of more than 2,000 items is rejected with all its lines', async () => {
    const lines = linesOf(...Array.from({ length: 2_001 }, () => ({})));
    const { invoices, rejectedLines, rejectedInvoices } = await collectInvoices(lines, reading);
    expect(invoices).toEqual([]);
    expect(sumOf(rejectedLines.list())).toBe(2_001);
    expect(rejectedInvoices.list()).toEqual([
      { reason: expect.stringMatching(/^not allowed in an order: .*2000/), count: 1, first: 'invoice 536365' },
    ]);
  });

  test('is counted even if none of its lines can be read', async () => {
    const collected = await collectInvoices(
      [{ number: 2, cells: undefined }, ...linesOf({ InvoiceNo: '7', Quantity: '?' })],
      reading,
    );
    expect(collected.linesRead).toBe(2);
    expect(collected.invoicesRead).toBe(1);
    expect(counts(collected.rejectedLines)).toEqual({ 'wrong number of columns': 1, 'unreadable quantity': 1 });
    expect(counts(collected.rejectedInvoices)).toEqual({ 'nothing to sell': 1 });
  });

  test('and each of its lines is either ordered or rejected, for any file', async () => {
    const cell = fc.oneof(fc.constantFrom('', '0', '-1', '1', '2.5', 'C1', '12/1/10 8:26', 'x'), fc.string());
    const cells = fc.record({
      InvoiceNo: fc.oneof(fc.constantFrom('1', '2', 'C3'), cell),
      StockCode: cell,
      Description: cell,
      Quantity: fc.oneof(fc.constant('1'), cell),
      InvoiceDate: fc.oneof(fc.constant('12/1/10 8:26'), cell),
      UnitPrice: fc.oneof(fc.constant('2.5'), cell),
      CustomerID: fc.oneof(fc.constant(''), cell),
    });
    const lines = fc.array(fc.record({ number: fc.nat(), cells: fc.option(cells, { nil: undefined }) }));
    await fc.assert(
      fc.asyncProperty(lines, async (given) => {
        const { linesRead, invoicesRead, invoices, rejectedLines, rejectedInvoices } = await collectInvoices(
          given,
          reading,
        );
        const ordered = invoices.reduce((sum, { items }) => sum + items.length, 0);
        expect(linesRead).toBe(given.length);
        expect(ordered + sumOf(rejectedLines.list())).toBe(linesRead);
        expect(invoices.length + sumOf(rejectedInvoices.list())).toBe(invoicesRead);
      }),
    );
  });
});

describe('the equation', () => {
  const rejected = (reasons: Record<string, number>) => {
    const rejections = new Rejections();
    for (const [reason, count] of Object.entries(reasons)) rejections.add(reason, 'line 2', count);
    return rejections;
  };

  test('holds if every line read was ordered, rejected or failed', () => {
    const closed = equation(
      10,
      5,
      rejected({ 'price not positive': 1, 'credit note': 2 }),
      rejected({ 'no response': 2 }),
    );
    expect(closed.holds).toBe(true);
    expect(closed.rejected.map(({ reason }) => reason)).toEqual(['credit note', 'price not positive']);
  });

  test.each([4, 6])('does not hold if one is missing or counted twice', (ordered) => {
    expect(equation(10, ordered, rejected({ 'price not positive': 5 }), rejected({})).holds).toBe(false);
  });
});
