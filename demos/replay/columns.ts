// The header of an invoice file: its delimiter, and where the columns are that make an order.
import { CliError } from '../shared/errors.ts';
import { printable } from '../shared/terminal.ts';

/** As Online Retail calls them. */
export type Column =
  | 'InvoiceNo'
  | 'StockCode'
  | 'Description'
  | 'Quantity'
  | 'InvoiceDate'
  | 'UnitPrice'
  | 'CustomerID';

/** In any order, among others; capitals, spaces and underscores make no difference. */
const COLUMNS: Readonly<Record<Column, readonly string[]>> = {
  InvoiceNo: ['InvoiceNo', 'Invoice'],
  StockCode: ['StockCode'],
  Description: ['Description'],
  Quantity: ['Quantity'],
  InvoiceDate: ['InvoiceDate'],
  UnitPrice: ['UnitPrice', 'Price'],
  CustomerID: ['CustomerID'],
};
const COLUMN_OF = new Map(
  Object.entries(COLUMNS).flatMap(([column, names]) => names.map((name) => [plain(name), column as Column])),
);

function plain(name: string): string {
  return name.replace(/[\s_\uFEFF"']/g, '').toLowerCase();
}

/** The column that a header cell names. */
const columnOf = (name: string): Column | undefined => COLUMN_OF.get(plain(name));

const DELIMITERS = [',', ';', '\t', '|'] as const;

/** From the first line: declared as `sep=;`, as Excel does, or the one that finds the most columns. */
export function delimiterOf(firstLine: string): { delimiter: string; declared: boolean } {
  const [, declared] = /^"?sep=(\\t|[^"\w\s]|\t)"?[\s,;]*$/i.exec(firstLine) ?? [];
  if (declared) return { delimiter: declared === '\\t' ? '\t' : declared, declared: true };
  const found = (delimiter: string) => firstLine.split(delimiter).filter((name) => columnOf(name)).length;
  const delimiter = DELIMITERS.reduce((best, other) => (found(other) > found(best) ? other : best));
  return { delimiter, declared: false };
}

export interface Header {
  readonly names: readonly string[];
  /** The place of each column, from 0. */
  readonly indexes: Readonly<Record<Column, number>>;
  /** The published data set whose names the header has. */
  readonly layout: 'Online Retail' | 'Online Retail II' | 'other names';
}

/** Throws a CliError unless each of the columns is there once. */
export function readHeader(names: readonly string[], file: string): Header {
  const found = printable(names.join(', ').slice(0, 200));
  const columnsFound = names.map(columnOf);
  const columns = Object.keys(COLUMNS) as Column[];
  const missing = columns
    .filter((column) => !columnsFound.includes(column))
    .map((column) => COLUMNS[column].join(' or '));
  if (missing.length > 0) throw new CliError(`${file} has no column ${missing.join(', ')}; its header is: ${found}`);
  const twice = columns.find((column) => columnsFound.indexOf(column) !== columnsFound.lastIndexOf(column));
  if (twice) throw new CliError(`${file} has the column ${twice} twice; its header is: ${found}`);
  const indexes = Object.fromEntries(columns.map((column) => [column, columnsFound.indexOf(column)]));
  return { names, indexes: indexes as Record<Column, number>, layout: layoutOf(names.map(plain)) };
}

function layoutOf(names: readonly string[]): Header['layout'] {
  if (names.includes('invoiceno') && names.includes('unitprice')) return 'Online Retail';
  return names.includes('invoice') && names.includes('price') ? 'Online Retail II' : 'other names';
}

export const columnNames = Object.keys(COLUMNS).join(', ');
