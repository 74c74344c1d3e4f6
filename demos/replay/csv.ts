// Reads a CSV with the columns of UCI's Online Retail, one line at a time, without judging what the lines say.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { CliError, messageOf } from '../shared/errors.ts';
import { printable } from '../shared/terminal.ts';

const columns = [
  'InvoiceNo',
  'StockCode',
  'Description',
  'Quantity',
  'InvoiceDate',
  'UnitPrice',
  'CustomerID',
] as const;
type Column = (typeof columns)[number];
export type Cells = Readonly<Record<Column, string>>;

export interface CsvLine {
  /** Counted from 1 with the header, as editors do. */
  readonly number: number;
  /** Trimmed; undefined where their number is not the header's, so that nobody can say which is which. */
  readonly cells: Cells | undefined;
}

/** Longer than any invoice line: a quote that is never closed is found here, not at the end of a large file. */
const MAX_LINE_BYTES = 64 * 1024;

/**
 * Yields every line below the header; blank lines are none. Throws a CliError where the file cannot be read, lacks a
 * column, or holds a quote that is never closed (what follows could be one cell or a thousand lines).
 */
export async function* readLines(file: string): AsyncGenerator<CsvLine> {
  const parser = parse({
    encoding: await encodingOf(file),
    bom: true,
    record_delimiter: ['\r\n', '\n', '\r'],
    relax_column_count: true, // told by the missing cells
    relax_quotes: true, // a quote inside a cell is a character: 12" RULER
    skip_empty_lines: true,
    max_record_size: MAX_LINE_BYTES,
    info: true,
  });
  // An error of the file destroys the parser with it, and comes out of the loop below.
  pipeline(createReadStream(file), parser, () => {});
  let header: Header | undefined;
  try {
    for await (const { record, info } of parser as AsyncIterable<{ record: string[]; info: { lines: number } }>) {
      if (header) yield { number: info.lines, cells: cellsOf(record, header) };
      else header = headerOf(record, file);
    }
  } catch (error) {
    if (error instanceof CsvError) throw new CliError(`${file}: ${printable(error.message)}`, { cause: error });
    throw error;
  }
  if (!header) throw new CliError(`${file} is empty: it needs a header line with ${columns.join(', ')}`);
}

interface Header {
  readonly width: number;
  readonly positions: Readonly<Record<Column, number>>;
}

function headerOf(record: readonly string[], file: string): Header {
  const names = record.map((name) => name.trim());
  const missing = columns.filter((column) => !names.includes(column));
  const found = printable(names.join(', ').slice(0, 200));
  if (missing.length > 0) throw new CliError(`${file} has no column ${missing.join(', ')}; its header is: ${found}`);
  const twice = columns.find((column) => names.indexOf(column) !== names.lastIndexOf(column));
  if (twice) throw new CliError(`${file} has the column ${twice} twice; its header is: ${found}`);
  const positions = Object.fromEntries(columns.map((column) => [column, names.indexOf(column)]));
  return { width: names.length, positions: positions as Record<Column, number> };
}

function cellsOf(record: readonly string[], { width, positions }: Header): Cells | undefined {
  if (record.length !== width) return undefined;
  const cells = columns.map((column) => [column, record[positions[column]]?.trim() ?? '']);
  return Object.fromEntries(cells) as Record<Column, string>;
}

/** UTF-8 where every byte of the file is, otherwise Latin-1, as the original files of the dataset are. */
async function encodingOf(file: string): Promise<'utf8' | 'latin1'> {
  try {
    if (!(await stat(file)).isFile()) throw new CliError(`${file} is not a file`);
    const decoder = new TextDecoder('utf-8', { fatal: true });
    for await (const chunk of createReadStream(file)) {
      if (!isUtf8(decoder, chunk)) return 'latin1';
    }
    return isUtf8(decoder) ? 'utf8' : 'latin1';
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`cannot read ${file}: ${messageOf(error)}`, { cause: error });
  }
}

/** Without a chunk: whether the file ended with a whole character. */
function isUtf8(decoder: InstanceType<typeof TextDecoder>, chunk?: Buffer): boolean {
  try {
    decoder.decode(chunk, { stream: chunk !== undefined });
    return true;
  } catch {
    return false; // that is how a fatal decoder answers
  }
}
