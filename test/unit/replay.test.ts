import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { equation, sumOf } from '../../demos/replay/counters.ts';
import { type Cells, type CsvLine, readLines } from '../../demos/replay/csv.ts';
import { collectInvoices, Rejections } from '../../demos/replay/invoices.ts';
import { judgeLine, readTime, toMinorUnits } from '../../demos/replay/line.ts';

const sample = new URL('../../samples/online-retail-2010-12-01_to_03.csv', import.meta.url).pathname;
const HEADER = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country';

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
  const judged = judgeLine({ ...mug, ...change }, currency);
  return judged.kind === 'rejected' ? judged.reason : 'item';
};
const linesOf = (...changes: Partial<Cells>[]): CsvLine[] =>
  changes.map((change, index) => ({ number: index + 2, cells: { ...mug, ...change } }));
async function allLines(file: string): Promise<CsvLine[]> {
  const lines: CsvLine[] = [];
  for await (const line of readLines(file)) lines.push(line);
  return lines;
}
const counts = (rejections: Rejections) =>
  Object.fromEntries(rejections.list().map(({ reason, count }) => [reason, count] as const));

describe('the sample', () => {
  test('is accounted for, line by line and invoice by invoice', async () => {
    const collected = await collectInvoices(readLines(sample), 'GBP');
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
    const { invoices } = await collectInvoices(readLines(sample), 'GBP');
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
    ['1e3', 'GBP', 'unreadable'],
  ])('%s %s is %s', (decimal, currency, expected) => {
    expect(toMinorUnits(decimal, currency)).toBe(expected);
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

describe('a date', () => {
  test.each([
    ['12/1/10 8:26', Date.UTC(2010, 11, 1, 8, 26)],
    ['12/9/2011 12:50', Date.UTC(2011, 11, 9, 12, 50)],
    ['2010-12-01 08:26:00', Date.UTC(2010, 11, 1, 8, 26)],
    ['31/12/10 8:26', undefined],
    ['2/30/11 8:26', undefined],
    ['12/1/10 24:61', undefined],
    ['yesterday', undefined],
  ])('%s is read as %s', (text, expected) => {
    expect(readTime(text)).toBe(expected);
  });
});

describe('a line', () => {
  test('is an item with an integer price, bought by its customer', () => {
    expect(judgeLine(mug, 'GBP')).toMatchObject({
      kind: 'item',
      userId: '17850',
      item: { sku: '85123A', name: 'WHITE MUG', quantity: 6, unitPrice: 255 },
    });
  });

  test('without a customer is bought by guest, and without a description has no name', () => {
    const judged = judgeLine({ ...mug, CustomerID: '', Description: '' }, 'GBP');
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
    const { invoices } = await collectInvoices(lines, 'GBP');
    expect(invoices.map(({ number, items }) => [number, items.map(({ sku }) => sku)])).toEqual([
      ['536365', ['A', 'C']],
      ['2', ['B']],
    ]);
  });

  test('keeps a duplicate line', async () => {
    const { invoices } = await collectInvoices(linesOf({}, {}), 'GBP');
    expect(invoices[0]?.items).toHaveLength(2);
  });

  test('has one customer: a line with another customer is rejected', async () => {
    const { invoices, rejectedLines } = await collectInvoices(linesOf({}, { CustomerID: '1' }), 'GBP');
    expect(invoices[0]?.items).toHaveLength(1);
    expect(counts(rejectedLines)).toEqual({ "customer differs from that of the invoice's first item": 1 });
  });

  test('of more than 2,000 items is rejected with all its lines', async () => {
    const lines = linesOf(...Array.from({ length: 2_001 }, () => ({})));
    const { invoices, rejectedLines, rejectedInvoices } = await collectInvoices(lines, 'GBP');
    expect(invoices).toEqual([]);
    expect(sumOf(rejectedLines.list())).toBe(2_001);
    expect(rejectedInvoices.list()).toEqual([
      { reason: expect.stringMatching(/^not allowed in an order: .*2000/), count: 1, first: 'invoice 536365' },
    ]);
  });

  test('is counted even if none of its lines can be read', async () => {
    const collected = await collectInvoices(
      [{ number: 2, cells: undefined }, ...linesOf({ InvoiceNo: '7', Quantity: '?' })],
      'GBP',
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
          'GBP',
        );
        const ordered = invoices.reduce((sum, { items }) => sum + items.length, 0);
        expect(linesRead).toBe(given.length);
        expect(ordered + sumOf(rejectedLines.list())).toBe(linesRead);
        expect(invoices.length + sumOf(rejectedInvoices.list())).toBe(invoicesRead);
      }),
    );
  });
});

describe('a file', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-replay-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const read = async (content: string | Buffer): Promise<CsvLine[]> => {
    const file = join(folder, 'invoices.csv');
    await writeFile(file, content);
    return allLines(file);
  };

  test('may have a BOM, any line endings, blank lines, quoted commas and its columns in another order', async () => {
    const lines = await read(
      '\uFEFFUnitPrice,InvoiceNo,StockCode,Description,Quantity,InvoiceDate,CustomerID,Extra\r\n' +
        '2.55,1,A,"MUG, WHITE",6,12/1/10 8:26,,x\n\n1.00,2,B,12" RULER , 1,12/1/10 8:26,7,x\r3,3,C,"A ""B""",1,12/1/10 8:26,,',
    );
    expect(lines.map(({ cells }) => cells?.Description)).toEqual(['MUG, WHITE', '12" RULER', 'A "B"']);
    expect(lines.map(({ cells }) => cells?.UnitPrice)).toEqual(['2.55', '1.00', '3']);
    expect(lines.map(({ number }) => number)).toEqual([2, 4, 5]);
  });

  test.each(['utf8', 'latin1'] as const)('may be written in %s', async (encoding) => {
    const lines = await read(Buffer.from(`${HEADER}\n1,A,MUG £5,1,12/1/10 8:26,5,,Österreich\n`, encoding));
    expect(lines[0]?.cells?.Description).toBe('MUG £5');
  });

  test('may have lines with too few or too many cells, which have no cells', async () => {
    const lines = await read(`${HEADER}\n1,A\n1,A,B,1,12/1/10 8:26,5,,UK,more\n1,A,B,1,12/1/10 8:26,5,,UK\n`);
    expect(lines.map(({ cells }) => cells !== undefined)).toEqual([false, false, true]);
  });

  test.each([
    ['', /is empty: it needs a header line with InvoiceNo/],
    ['InvoiceNo;StockCode\n', /has no column InvoiceNo, StockCode, .*; its header is: InvoiceNo;StockCode/],
    [HEADER.replace('UnitPrice', 'Price'), /has no column UnitPrice; its header is/],
    [`${HEADER},Quantity`, /has the column Quantity twice/],
    [`${HEADER}\n1,A,"MUG,1,12/1/10 8:26,5,,UK\n2,B\n`, /quote.* line 3/i],
    [`${HEADER}\n1,A,"MUG,1\n${'2,B,CUP,1\n'.repeat(10_000)}`, /record/i],
  ])('that cannot be parsed is rejected as a whole: %#', async (content, message) => {
    await expect(read(content)).rejects.toThrow(message);
  });

  test('that is missing or a folder is named in the error', async () => {
    await expect(allLines(join(folder, 'none.csv'))).rejects.toThrow(/cannot read .*none\.csv/);
    await expect(allLines(folder)).rejects.toThrow(/cannot read .*EISDIR/);
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
