// Reads a CSV file with the columns of UCI's Online Retail, one line at a time, without judging the cells.
import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { CsvError, parse } from 'csv-parse';
import { CliError, messageOf } from '../shared/errors.ts';
import { printable } from '../shared/terminal.ts';

const names = ['InvoiceNo', 'StockCode', 'Description', 'Quantity', 'InvoiceDate', 'UnitPrice', 'CustomerID'] as const;
export type Cells = Readonly<Record<(typeof names)[number], string>>;

export interface CsvLine {
  /** Counted from 1 with the header, as editors do. */
  readonly number: number;
  /** Trimmed; undefined if the line has more or fewer cells than the header, so that no cell has a certain column. */
  readonly cells: Cells | undefined;
}

/** Longer than any invoice line, so that an unclosed quote is found early and not at the end of a large file. */
const MAX_LINE_BYTES = 64 * 1024;

/**
 * Yields every line below the header except blank ones. Throws a CliError if the file cannot be read, lacks a column,
 * or has an unclosed quote (which could make one cell of a thousand lines).
 */
export async function* readLines(file: string): AsyncGenerator<CsvLine> {
  const bytes = await readFile(file).catch((error) => {
    throw new CliError(`cannot read ${file}: ${messageOf(error)}`, { cause: error });
  });
  let hasHeader = false;
  const parser = parse(bytes, {
    encoding: isUtf8(bytes) ? 'utf8' : 'latin1', // the original files of the dataset are Latin-1
    bom: true,
    cast: (cell) => cell.trim(),
    columns: (header: string[]) => {
      hasHeader = true;
      return checkHeader(header, file);
    },
    record_delimiter: ['\r\n', '\n', '\r'],
    relax_column_count: true, // a wrong number of cells shows in the record's `error`
    relax_quotes: true, // a quote inside a cell is a character: 12" RULER
    skip_empty_lines: true,
    max_record_size: MAX_LINE_BYTES,
    info: true,
  });
  const records: AsyncIterable<{ record: Cells; info: { lines: number; error?: unknown } }> = parser;
  try {
    for await (const { record, info } of records) yield { number: info.lines, cells: info.error ? undefined : record };
  } catch (error) {
    if (error instanceof CsvError) throw new CliError(`${file}: ${printable(error.message)}`, { cause: error });
    throw error;
  }
  if (!hasHeader) throw new CliError(`${file} is empty: it needs a header line with ${names.join(', ')}`);
}

/** Throws a CliError unless each of the columns is there once. */
function checkHeader(header: string[], file: string): string[] {
  const found = printable(header.join(', ').slice(0, 200));
  const missing = names.filter((name) => !header.includes(name));
  if (missing.length > 0) throw new CliError(`${file} has no column ${missing.join(', ')}; its header is: ${found}`);
  const twice = names.find((name) => header.indexOf(name) !== header.lastIndexOf(name));
  if (twice) throw new CliError(`${file} has the column ${twice} twice; its header is: ${found}`);
  return header;
}
