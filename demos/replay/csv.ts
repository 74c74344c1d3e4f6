// Reads a CSV file of invoice lines in two passes, so that nothing is placed before the whole file has been judged and
// the file is never in memory. The first pass recognises how the file is written, the second one yields its lines.
import { pipeline } from 'node:stream';
import { finished } from 'node:stream/promises';
import { CsvError, type InfoRecord, type Options, parse } from 'csv-parse';
import { CliError } from '../shared/errors.ts';
import { printable } from '../shared/terminal.ts';
import { type Column, columnNames, delimiterOf, type Header, readHeader } from './columns.ts';
import { type DateOrder, DateSurvey } from './dates.ts';
import { detectUtf16, toUtf8, Utf8Evidence } from './encoding.ts';
import type { Format } from './format.ts';
import { NumberSurvey, plainId } from './numbers.ts';
import type { Source } from './source.ts';

export type Cells = Readonly<Record<Column, string>>;

export interface CsvLine {
  /** Counted from 1 with the header, as editors do. */
  readonly number: number;
  /** Cleaned; undefined if the line has more or fewer cells than the header, so that no cell has a certain column. */
  readonly cells: Cells | undefined;
  /** The name of the first column with bytes that are no text in the file's encoding. */
  readonly damaged?: string | undefined;
}

/** Longer than any invoice line, so that an unclosed quote is found early and not at the end of a large file. */
const MAX_LINE_BYTES = 64 * 1024;
/** Bounds the memory for the invoices to about 700 MB; both data sets together have 1,609,280 lines. */
const MAX_LINES = 2_000_000;

/** Stands for a missing value in the files of pandas, R, databases and spreadsheets, in any capitals. */
const MISSING = new Set(['nan', '-nan', 'null', 'none', 'na', 'n/a', '<na>', 'nat', '#n/a', '#na', '#n/a n/a', '\\n']);
const LONGEST_MISSING = 8;

type OnLine = (linesRead: number) => void;

/**
 * The first pass. Throws a CliError if the file cannot be read or decompressed to its end, lacks a column, has an
 * unclosed quote (which could make one cell of a thousand lines), or has dates that contradict one another.
 */
export async function recogniseFormat(
  source: Source,
  { dateOrder }: { dateOrder?: DateOrder | undefined } = {},
  onLine: OnLine = () => {},
): Promise<Format> {
  const head = await readHead(source);
  const utf16 = detectUtf16(head);
  const firstLine = new TextDecoder(utf16 === 'UTF-16 BE' ? 'utf-16be' : utf16 ? 'utf-16le' : 'utf-8')
    .decode(head)
    .split(/[\r\n]+/)
    .find((line) => line.trim() !== '');
  const { delimiter, declared } = delimiterOf(firstLine ?? '');
  const survey = new Survey(source.name, onLine);
  const utf8 = new Utf8Evidence();
  const observed = async function* () {
    for await (const chunk of source.bytes()) {
      utf8.add(chunk);
      yield chunk;
    }
  };
  let skipped = declared ? 1 : 0;
  const parser = parseStream(utf16 ? toUtf8(source.bytes(), utf16) : observed(), delimiter, {
    on_record: (record: string[], { lines }) => {
      if (skipped > 0) skipped--;
      else survey.add(record, lines);
      return null; // the second pass yields the records
    },
  });
  parser.resume();
  await finished(parser).catch((error) => {
    throw csvError(source.name, error);
  });
  if (!survey.header) throw new CliError(`${source.name} is empty: it needs a header line with ${columnNames}`);
  return {
    gzip: source.gzip,
    encoding: utf16 ?? utf8.decide(),
    delimiter,
    declared,
    header: survey.header,
    dates: survey.dates.decide(dateOrder, source.name),
    numbers: survey.numbers.decide(),
  };
}

/** The second pass: yields every line below the header except blank ones. */
export async function* readLines(source: Source, format: Format): AsyncGenerator<CsvLine> {
  const { header, delimiter, encoding } = format;
  const records = parseStream(toUtf8(source.bytes(), encoding), delimiter, { info: true }) as AsyncIterable<{
    record: string[];
    info: InfoRecord & { lines: number };
  }>;
  let skipped = format.declared ? 2 : 1;
  try {
    for await (const { record, info } of records) {
      if (skipped-- > 0) continue;
      const damaged = record.findIndex((cell) => cell.includes('\uFFFD'));
      yield {
        number: info.lines,
        cells: record.length === header.names.length ? cellsOf(record, format) : undefined,
        damaged: damaged < 0 ? undefined : (header.names[damaged] ?? `cell ${damaged + 1}`),
      };
    }
  } catch (error) {
    throw csvError(source.name, error);
  }
}

/** The first bytes, which include the header. */
async function readHead(source: Source): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of source.bytes()) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= MAX_LINE_BYTES) break;
  }
  return Buffer.concat(chunks);
}

const parseStream = (utf8: AsyncIterable<Buffer>, delimiter: string, options: Options) =>
  pipeline(
    utf8,
    parse({
      bom: true,
      delimiter,
      record_delimiter: ['\r\n', '\n', '\r'],
      relax_column_count: true, // the number of cells is compared with the header
      relax_quotes: true, // a quote inside a cell is a character: 12" RULER
      skip_empty_lines: true,
      max_record_size: MAX_LINE_BYTES,
      ...options,
    }),
    () => {}, // the parser reports the errors of both
  );

function csvError(name: string, error: unknown): unknown {
  return error instanceof CsvError ? new CliError(`${name}: ${printable(error.message)}`, { cause: error }) : error;
}

/** What the first pass learns from the records. */
class Survey {
  header: Header | undefined;
  readonly dates = new DateSurvey();
  readonly numbers = new NumberSurvey();
  readonly #file: string;
  readonly #onLine: OnLine;
  #lines = 0;

  constructor(file: string, onLine: OnLine) {
    this.#file = file;
    this.#onLine = onLine;
  }

  add(record: readonly string[], line: number): void {
    if (!this.header) {
      this.header = readHeader(record, this.#file);
      return;
    }
    this.#onLine(++this.#lines);
    if (this.#lines > MAX_LINES)
      throw new CliError(`${this.#file} has more than ${MAX_LINES} lines; split it between two invoices`);
    if (record.length !== this.header.names.length) return;
    const { InvoiceDate, Quantity, UnitPrice, CustomerID } = this.header.indexes;
    this.dates.add(record[InvoiceDate]?.trim() ?? '', line);
    for (const index of [Quantity, UnitPrice, CustomerID]) this.numbers.add(record[index]?.trim() ?? '');
  }
}

/** Cells are the same in every copy of a file: trimmed, with one kind of line ending, with ids as they were. */
function cellsOf(record: readonly string[], { header, numbers }: Format): Cells {
  const { indexes } = header;
  const text = (column: Column) => clean(record[indexes[column]] ?? '');
  const id = (column: Column) => plainId(text(column), numbers);
  return {
    InvoiceNo: id('InvoiceNo'),
    StockCode: id('StockCode'),
    Description: text('Description'),
    Quantity: text('Quantity'),
    InvoiceDate: text('InvoiceDate'),
    UnitPrice: text('UnitPrice'),
    CustomerID: id('CustomerID'),
  };
}

function clean(cell: string): string {
  const trimmed = cell.trim();
  if (trimmed.length <= LONGEST_MISSING && MISSING.has(trimmed.toLowerCase())) return '';
  return trimmed.includes('\r') ? trimmed.replace(/\r\n?/g, '\n') : trimmed;
}
