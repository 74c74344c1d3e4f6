// What `sluice replay` recognises about a file, and that the copies of a file are the same orders.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DateOrder } from '../../demos/replay/dates.ts';
import { Utf8Evidence } from '../../demos/replay/encoding.ts';
import { formatFacts, renderFormat } from '../../demos/replay/format.ts';
import { Source } from '../../demos/replay/source.ts';
import { readFile, withFile } from '../setup/replay.ts';

const NAMES = [
  'InvoiceNo',
  'StockCode',
  'Description',
  'Quantity',
  'InvoiceDate',
  'UnitPrice',
  'CustomerID',
  'Country',
];
const HEADER = NAMES.join(',');
const read = (content: string | Uint8Array, dateOrder?: DateOrder) =>
  withFile(content, (file) => readFile(file, dateOrder));
const dated = (...dates: string[]) =>
  [HEADER, ...dates.map((date, i) => `${i + 1},A,CUP,1,${date},2.55,7,UK`), ''].join('\n');
const named = (...descriptions: (string | Buffer)[]): Buffer =>
  Buffer.concat([
    Buffer.from(`${HEADER}\n`),
    ...descriptions.flatMap((name, i) => [
      Buffer.from(`${i + 1},A,`),
      Buffer.from(name),
      Buffer.from(',1,12/1/10 8:26,5,7,UK\n'),
    ]),
  ]);

describe('a file', () => {
  test('may have a BOM, any line endings, blank lines, quoted commas and its columns in another order', async () => {
    const { lines } = await read(
      '\uFEFFUnitPrice,InvoiceNo,StockCode,Description,Quantity,InvoiceDate,CustomerID,Extra\r\n' +
        '2.55,1,A,"MUG, WHITE",6,12/1/10 8:26,,x\n\n1.00,2,B,12" RULER , 1,12/1/10 8:26,7,x\r3,3,C,"A ""B""",1,12/1/10 8:26,,',
    );
    expect(lines.map(({ cells }) => cells?.Description)).toEqual(['MUG, WHITE', '12" RULER', 'A "B"']);
    expect(lines.map(({ cells }) => cells?.UnitPrice)).toEqual(['2.55', '1.00', '3']);
    expect(lines.map(({ number }) => number)).toEqual([2, 4, 5]);
  });

  test('may have lines with too few or too many cells, which have no cells', async () => {
    const { lines } = await read(`${HEADER}\n1,A\n1,A,B,1,12/1/10 8:26,5,,UK,more\n1,A,B,1,12/1/10 8:26,5,,UK\n`);
    expect(lines.map(({ cells }) => cells !== undefined)).toEqual([false, false, true]);
  });

  test.each([
    ['', /is empty: it needs a header line with InvoiceNo/],
    ['sep=;\n', /is empty: it needs a header line with InvoiceNo/],
    ['InvoiceNo;StockCode\n', /has no column Description, .*; its header is: InvoiceNo, StockCode/],
    [HEADER.replace('UnitPrice', 'Cost'), /has no column UnitPrice or Price; its header is/],
    [`${HEADER},Quantity`, /has the column Quantity twice/],
    [`${HEADER},Price`, /has the column UnitPrice twice/],
    [`${HEADER}\n1,A,"MUG,1,12/1/10 8:26,5,,UK\n2,B\n`, /quote.* line 3/i],
    [`${HEADER}\n1,A,"MUG,1\n${'2,B,CUP,1\n'.repeat(10_000)}`, /record/i],
    [Buffer.from('504b030414000600', 'hex'), /is an Excel workbook or a ZIP archive; save the sheet as CSV/],
    [Buffer.from(`fffe0000${'49000000'.repeat(99)}`, 'hex'), /is encoded in UTF-32; save it as UTF-8/],
  ])('that cannot be parsed is rejected as a whole: %#', async (content, message) => {
    await expect(read(content)).rejects.toThrow(message);
  });

  test('that is missing or a folder is named in the error', async () => {
    await expect(readFile(join(tmpdir(), 'none.csv'))).rejects.toThrow(/cannot read .*none\.csv/);
    await expect(readFile(tmpdir())).rejects.toThrow(/cannot read .*EISDIR/);
  });

  test('may have the names of either published layout, in other spellings too', async () => {
    const layoutOf = async (header: string) => (await read(`${header}\n`)).format.header.layout;
    expect(await layoutOf(HEADER)).toBe('Online Retail');
    const second = 'Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country';
    expect(await layoutOf(second)).toBe('Online Retail II');
    expect(await layoutOf(`,${second.toLowerCase().replace(' ', '_')}`)).toBe('Online Retail II');
    expect(await layoutOf(HEADER.replace('InvoiceNo', 'Invoice'))).toBe('other names');
  });
});

describe('the delimiter', () => {
  const line = ['1', 'A', 'CUP, BIG; RED', '2', '12/1/10 8:26', '2.55', '7', 'UK'];
  test.each([',', ';', '\t', '|'])('%j is recognised', async (delimiter) => {
    const quoted = line.map((cell) => `"${cell}"`).join(delimiter);
    for (const header of [NAMES.join(delimiter), NAMES.map((name) => `"${name}"`).join(delimiter)]) {
      const { format, lines } = await read(`${header}\r\n${quoted}\r\n`);
      expect(format.delimiter).toBe(delimiter);
      expect(lines[0]?.cells?.Description).toBe('CUP, BIG; RED');
    }
  });

  test.each([
    ['sep=;', ';'],
    ['"sep=;"', ';'],
    ['SEP=\t', '\t'],
    ['\uFEFFsep=,', ','],
    ['sep=^', '^'],
  ])('may be declared: %j', async (declaration, delimiter) => {
    const { format, lines } = await read(
      `${declaration}\r\n${NAMES.join(delimiter)}\r\n${line.map((c) => `"${c}"`).join(delimiter)}\r\n`,
    );
    expect(format.delimiter).toBe(delimiter);
    expect(lines.map(({ number }) => number)).toEqual([3]);
    expect(lines[0]?.cells?.Description).toBe('CUP, BIG; RED');
  });
});

describe('the decimal mark', () => {
  const priced = (...prices: [quantity: string, price: string][]) =>
    [
      HEADER.replaceAll(',', ';'),
      ...prices.map(([q, p], i) => `${i + 1};A;CUP;${q};1.12.2010 8:26;${p};17850;UK`),
    ].join('\n');
  const itemsOf = async (...prices: [string, string][]) => {
    const { invoices, format } = await read(priced(...prices));
    return [format.numbers.mark, ...invoices.map(({ items }) => [items[0]?.quantity, items[0]?.unitPrice])];
  };

  test('is a comma or a point, by the whole file, and groups are read if it is certain', async () => {
    expect(await itemsOf(['1.000', '3'], ['6', '2,55'], ['6,0', '1.234,50'])).toEqual([
      ',',
      [1_000, 300],
      [6, 255],
      [6, 123_450],
    ]);
    expect(await itemsOf(['1,000', '3'], ['6', '2.55'], ['6.0', '1,234.50'])).toEqual([
      '.',
      [1_000, 300],
      [6, 255],
      [6, 123_450],
    ]);
    expect(await itemsOf(['6', '3'])).toEqual(['.', [6, 300]]);
  });

  test('is never taken for a group mark without a proof, so no amount becomes a thousand times larger', async () => {
    const { invoices, rejectedLines } = await read(priced(['1,234', '3'], ['1', '1,234']));
    expect(invoices).toEqual([]);
    expect(rejectedLines.list().map(({ reason, first }) => [reason, first])).toEqual([
      ['unreadable quantity', 'line 2: "1,234"'],
      ['price with more decimals than GBP has', 'line 3: "1,234"'],
    ]);
  });

  test('of one line that differs damages that line only', async () => {
    const { invoices, rejectedLines } = await read(priced(['1', '2.55'], ['1', '2.65'], ['1', '2,75']));
    expect(invoices).toHaveLength(2);
    expect(rejectedLines.list()).toEqual([{ reason: 'unreadable price', count: 1, first: 'line 4: "2,75"' }]);
  });
});

describe('the encoding', () => {
  const text = 'CAFÉ ☕ 5€ “MUG” Österreich';
  const utf16be = (value: string) => Buffer.from(value, 'utf16le').swap16();
  const csv = named(text).toString();
  test.each<[string, Buffer, string]>([
    ['UTF-8', Buffer.from(csv), 'UTF-8'],
    ['UTF-8 with BOM', Buffer.from(`\uFEFF${csv}`), 'UTF-8'],
    ['UTF-16 LE', Buffer.from(csv, 'utf16le'), 'UTF-16 LE'],
    ['UTF-16 LE with BOM', Buffer.from(`\uFEFF${csv}`, 'utf16le'), 'UTF-16 LE'],
    ['UTF-16 BE', utf16be(csv), 'UTF-16 BE'],
    ['UTF-16 BE with BOM', utf16be(`\uFEFF${csv}`), 'UTF-16 BE'],
  ])('%s is recognised', async (_name, bytes, encoding) => {
    const { format, lines, damagedLines } = await read(bytes);
    expect(format.encoding).toBe(encoding);
    expect(lines[0]?.cells).toMatchObject({ InvoiceNo: '1', Description: text });
    expect(damagedLines.list()).toEqual([]);
  });

  test('Windows-1252 is recognised, without control characters', async () => {
    const { format, lines } = await read(named(Buffer.from('5\x80 \x93MUG\x94 \x96 it\x92s £ \xc9', 'latin1')));
    expect(format.encoding).toBe('Windows-1252');
    expect(lines[0]?.cells?.Description).toBe('5€ “MUG” – it’s £ É');
  });

  test('Windows-1252 stays so if two of its characters happen to be one of UTF-8', async () => {
    const { format, lines } = await read(named(Buffer.from('\x93CAF\xc9\x94', 'latin1')));
    expect(format.encoding).toBe('Windows-1252');
    expect(lines[0]?.cells?.Description).toBe('“CAFÉ”');
  });

  test('of a stray byte damages its own cell only, and the line is named', async () => {
    const damaged = Buffer.from('CAF\xc9', 'latin1');
    const { format, lines, damagedLines, invoices } = await read(named('CAFÉ', damaged, 'ÖL', 'PLAIN'));
    expect(format.encoding).toBe('UTF-8');
    expect(lines.map(({ cells }) => cells?.Description)).toEqual(['CAFÉ', 'CAF\uFFFD', 'ÖL', 'PLAIN']);
    expect(damagedLines.list()).toEqual([{ reason: 'Description', count: 1, first: 'line 3' }]);
    expect(invoices).toHaveLength(4);
    expect(renderFormat(format, { damagedLines }).join('\n')).toMatch(/1 lines with bytes that are not UTF-8.*line 3/);
  });

  test('may have a stray byte that Windows-1252 leaves undefined, or half a character at the end', async () => {
    const undefined1252 = await read(named(Buffer.from('\x9d \xe9t\xe9', 'latin1')));
    expect(undefined1252.lines[0]?.cells?.Description).toBe('\uFFFD été');
    const odd = await read(Buffer.from(`${csv}x`, 'utf16le').subarray(0, -1));
    expect(odd.lines[0]?.cells?.Description).toBe(text);
    expect(odd.damagedLines.list()).toHaveLength(1);
  });

  test('is judged the same however the bytes are cut into chunks', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.array(fc.nat({ max: 5 }), { minLength: 1 }), (value, sizes) => {
        const bytes = Buffer.from(value.toWellFormed());
        const evidence = new Utf8Evidence();
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const size = 1 + (sizes[turn % sizes.length] ?? 0);
          evidence.add(bytes.subarray(at, at + size));
          at += size;
        }
        expect(evidence.decide()).toBe('UTF-8');
      }),
    );
  });

  test('is the same for a file of many chunks', async () => {
    const names = Array.from({ length: 5_000 }, (_, i) => `CAFÉ ☕ "${i}"`);
    for (const bytes of [named(...names), Buffer.from(named(...names).toString(), 'utf16le')]) {
      const { lines, damagedLines } = await read(bytes);
      expect(lines.map(({ cells }) => cells?.Description)).toEqual(names);
      expect(damagedLines.list()).toEqual([]);
    }
  });
});

describe('the date order', () => {
  const decided = async (...dates: string[]) => (await read(dated(...dates))).format.dates;

  test.each<[DateOrder, string[], RegExp]>([
    ['dmy', ['01/12/2010 08:26', '13/12/2010 08:26'], /^line 3 has 13\/12\/2010 08:26$/],
    ['mdy', ['01/12/2010 08:26', '12/13/2010 08:26'], /^line 3 has 12\/13\/2010 08:26$/],
    ['dmy', ['01-12-2010 08:26', '31-12-2010 08:26'], /^line 3 has/],
    ['dmy', ['1.12.10', '24.12.10'], /^line 3 has/],
    ['ymd', ['99-12-31 08:26'], /^line 2 has/],
    ['ymd', ['2010-12-01 08:26:00', '2010/12/13 8:26'], /no date leaves a choice/],
    ['dmy', ['2010-12-01 08:26:00', '13/12/2010 08:26'], /^line 3 has/],
  ])('%s is proven by %j', async (order, dates, reason) => {
    const { order: found, reason: given, ambiguous } = await decided(...dates);
    expect([found, ambiguous]).toEqual([order, false]);
    expect(given).toMatch(reason);
  });

  test('is proven by the last line of a long file', async () => {
    const dates = Array.from({ length: 5_000 }, () => '01/12/2010 08:26');
    expect(await decided(...dates, '13/12/2010 08:26')).toMatchObject({
      order: 'dmy',
      reason: expect.stringContaining('5002'),
    });
  });

  test('is proven by a line that is no order', async () => {
    const { format } = await read(`${dated('01/12/2010 08:26')}C9,A,CUP,-1,13/12/2010 08:26,2.55,7,UK\n`);
    expect(format.dates.order).toBe('dmy');
  });

  test.each<[DateOrder, string, string[]]>([
    ['dmy', '3 days and not 60', ['01/12/2010 08:26', '02/12/2010 08:26', '03/12/2010 08:26']],
    ['mdy', '3 days and not 60', ['12/1/2010 8:26', '12/2/2010 8:26', '12/3/2010 8:26']],
    ['mdy', 'as in the data set', ['12/1/2010 8:26']],
    ['dmy', 'as usual with points', ['01.12.2010 08:26']],
  ])('%s is assumed, and the other one offered: %s', async (order, because, dates) => {
    const { order: found, reason, ambiguous } = await decided(...dates);
    expect([found, ambiguous]).toEqual([order, true]);
    expect(reason).toContain(because);
    expect(reason).toContain(dates[0]);
    expect(reason).toContain(`--date-order ${order === 'dmy' ? 'mdy' : 'dmy'}`);
  });

  test('that the dates contradict rejects the file and shows the two lines', async () => {
    const file = dated('01/12/2010 08:26', '12/13/2010 08:26', '13/12/2010 08:26');
    await expect(read(file)).rejects.toThrow(
      /contradict each other: line 3 has 12\/13\/2010 08:26, which is month first; line 4 has 13\/12\/2010 08:26, which is day first.*--date-order mdy or dmy/,
    );
    const { invoices, rejectedLines } = await read(file, 'dmy');
    expect(invoices.map(({ number }) => number)).toEqual(['1', '3']);
    expect(rejectedLines.list()).toMatchObject([
      { reason: 'unreadable date', first: expect.stringMatching(/^line 3: "12\/13/) },
    ]);
  });

  test('can be chosen', async () => {
    const { invoices, format } = await read(dated('10-12-01 08:26'), 'ymd');
    expect(format.dates).toMatchObject({ order: 'ymd', reason: 'by --date-order', ambiguous: false });
    expect(invoices[0]?.at).toBe(Date.UTC(2010, 11, 1, 8, 26));
  });
});

describe('a source', () => {
  const { signal } = new AbortController();
  const csv = dated('2010-12-01 08:26');
  const bytesOf = async (source: Source) => {
    const chunks: Buffer[] = [];
    for await (const chunk of source.bytes()) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };

  test('may be compressed with gzip, in several members', async () => {
    const halves = [csv.slice(0, 100), csv.slice(100)].map((half) => gzipSync(half));
    const { format, lines } = await read(Buffer.concat(halves));
    expect(formatFacts(format, { damagedLines: (await read(csv)).damagedLines }).compression).toBe('gzip');
    expect(lines).toHaveLength(1);
  });

  test.each([
    [
      'breaks off',
      (bytes: Buffer) => bytes.subarray(0, -10),
      /breaks off: its gzip data has no end; nothing was placed/,
    ],
    ['breaks off in its header', (bytes: Buffer) => bytes.subarray(0, 5), /breaks off/],
    [
      'is damaged',
      (bytes: Buffer) => Buffer.from(bytes).fill(0xff, bytes.length / 2, bytes.length / 2 + 9),
      /is damaged \(gzip: /,
    ],
    ['is compressed twice', (bytes: Buffer) => gzipSync(bytes), /is compressed with gzip twice/],
  ])('that is gzip and %s is rejected as a whole', async (_name, damage, message) => {
    const dates = Array.from({ length: 5_000 }, (_, i) => `2010-12-01 08:${10 + (i % 50)}`);
    await expect(read(damage(gzipSync(dated(...dates))))).rejects.toThrow(message);
  });

  test('may be a pipe, is read as often as needed, and has a bound', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-replay-'));
    try {
      const pipe = join(folder, 'pipe');
      await promisify(execFile)('mkfifo', [pipe]);
      const [source] = await Promise.all([Source.open(pipe, signal), writeFile(pipe, gzipSync(csv))]);
      expect(source.gzip).toBe(true);
      expect(await bytesOf(source)).toBe(csv);
      expect(await bytesOf(source)).toBe(csv);
      await source.close();
      const bounded = Source.open(pipe, signal, 100);
      await Promise.all([
        expect(bounded).rejects.toThrow(/cannot read .*: it has more than 100 bytes; store it as a file/),
        writeFile(pipe, csv),
      ]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('the copies of a file', () => {
  interface Row {
    readonly invoice: string;
    readonly name: string;
    readonly quantity: number;
    readonly pence: number;
    readonly customer: string;
  }
  const rows: Row[] = [
    { invoice: '536365', name: 'CAFÉ “LATTE”', quantity: 6, pence: 255, customer: '17850' },
    { invoice: '536365', name: 'TWO\nLINES', quantity: 1_000, pence: 100, customer: '17850' },
    { invoice: '536366', name: '', quantity: 2, pence: 339, customer: '' },
    { invoice: 'C536367', name: 'NA', quantity: -1, pence: 5, customer: '17851' },
    { invoice: '536368', name: 'CUP; RED, BIG', quantity: 1, pence: 123_450, customer: '17851' },
  ];

  interface Dialect {
    readonly delimiter: string;
    readonly ending: string;
    readonly mark: string;
    readonly floats: boolean;
    readonly missing: string;
    readonly second: boolean;
    readonly order: readonly number[];
    readonly date: string;
    readonly encode: (text: string) => Uint8Array;
  }
  const write = (dialect: Dialect): Uint8Array => {
    const { delimiter, ending, mark, floats, missing, second, order } = dialect;
    const decimal = (pence: number) =>
      `${Math.trunc(pence / 100)}${mark}${String(Math.abs(pence % 100)).padStart(2, '0')}`;
    const whole = (digits: string) => (floats && /^\d+$/.test(digits) ? `${digits}${mark}0` : digits);
    const header = second ? ['Invoice', ...NAMES.slice(1, 5), 'Price', 'Customer ID', 'Country'] : NAMES;
    const records = rows.map(({ invoice, name, quantity, pence, customer }) => [
      whole(invoice),
      whole('22752'),
      (name || missing).replaceAll('\n', ending),
      quantity < 0 ? String(quantity) : whole(String(quantity)),
      dialect.date,
      decimal(pence),
      customer === '' ? missing : whole(customer),
      'United Kingdom',
    ]);
    const cell = (text: string) => (/[",;\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const text = [header, ...records].map((record) => order.map((i) => cell(record[i] ?? '')).join(delimiter));
    return dialect.encode(text.join(ending) + ending);
  };
  const cp1252 = (text: string) => Buffer.from(text.replaceAll('“', '\x93').replaceAll('”', '\x94'), 'latin1');
  const encodings: ((text: string) => Uint8Array)[] = [
    (text) => Buffer.from(text),
    (text) => Buffer.from(`\uFEFF${text}`),
    (text) => Buffer.from(text, 'utf16le'),
    (text) => Buffer.from(`\uFEFF${text}`, 'utf16le').swap16(),
    cp1252,
    (text) => gzipSync(text),
  ];
  const dialects: fc.Arbitrary<Dialect> = fc.record({
    delimiter: fc.constantFrom(',', ';', '\t'),
    ending: fc.constantFrom('\n', '\r\n', '\r'),
    mark: fc.constantFrom('.', ','),
    floats: fc.boolean(),
    missing: fc.constantFrom('', 'nan', 'NaN', 'NULL', 'None', '<NA>'),
    second: fc.boolean(),
    order: fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 8 }),
    date: fc.constantFrom('12/1/2010 8:26', '13.12.2010 08:26', '2010-12-01 08:26:00', '01-12-10'),
    encode: fc.constantFrom(...encodings),
  });

  test('are the same orders, in any dialect', async () => {
    /** What is sent: the key, the user and the items. */
    const sent = async (content: Uint8Array) =>
      (await read(content)).invoices.map(({ number, userId, items }) => ({ number, userId, items }));
    const expected = [
      {
        number: '536365',
        userId: '17850',
        items: [
          { sku: '22752', name: 'CAFÉ “LATTE”', quantity: 6, unitPrice: 255 },
          { sku: '22752', name: 'TWO\nLINES', quantity: 1_000, unitPrice: 100 },
        ],
      },
      { number: '536366', userId: 'guest', items: [{ sku: '22752', quantity: 2, unitPrice: 339 }] },
      {
        number: '536368',
        userId: '17851',
        items: [{ sku: '22752', name: 'CUP; RED, BIG', quantity: 1, unitPrice: 123_450 }],
      },
    ];
    await fc.assert(
      fc.asyncProperty(dialects, async (dialect) => {
        expect(await sent(write(dialect))).toEqual(expected);
      }),
    );
  });
});
