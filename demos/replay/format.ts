// How a file is written, as the first pass over it found.
import { printable, text } from '../shared/terminal.ts';
import type { Header } from './columns.ts';
import { type DateDecision, orderNames } from './dates.ts';
import type { Encoding } from './encoding.ts';
import type { NumberForm } from './numbers.ts';

export interface Format {
  readonly gzip: boolean;
  readonly encoding: Encoding;
  readonly delimiter: string;
  /** Whether the first line declares the delimiter (`sep=;`). */
  readonly declared: boolean;
  readonly header: Header;
  readonly dates: DateDecision;
  readonly numbers: NumberForm;
}

const DELIMITER_NAMES: Readonly<Record<string, string>> = { ',': 'comma', ';': 'semicolon', '\t': 'tab', '|': 'bar' };

/** What the second pass found. */
interface Damage {
  /** By the name of the first damaged column of a line. */
  readonly damagedLines: { list(): readonly { reason: string; count: number; first: string }[] };
}

/** For programs. */
export const formatFacts = ({ gzip, encoding, delimiter, header, dates, numbers }: Format, damage: Damage) => ({
  compression: gzip ? 'gzip' : null,
  encoding,
  delimiter,
  decimalMark: numbers.mark,
  layout: header.layout,
  dateOrder: dates.order,
  dateOrderReason: dates.reason,
  dateOrderAmbiguous: dates.ambiguous,
  damagedLines: damage.damagedLines.list().map(({ reason, ...found }) => ({ column: reason, ...found })),
});

/** For people. */
export function renderFormat(format: Format, { damagedLines }: Damage): string[] {
  const { gzip, encoding, delimiter, header, dates, numbers } = format;
  const facts = [
    ...(gzip ? ['gzip'] : []),
    encoding,
    `${DELIMITER_NAMES[delimiter] ?? printable(delimiter)} between columns`,
    numbers.mark === ',' ? 'decimal comma' : 'decimal point',
    `layout ${header.layout}`,
  ];
  return [
    `format     ${facts.join(', ')}`,
    `dates      ${orderNames[dates.order]} (${printable(dates.reason)})`,
    ...damagedLines.list().map(({ reason: column, count: lines, first }) => {
      const where = `${printable(column)}; first: ${first}`;
      return text`damaged    ${lines} lines with bytes that are not ${encoding}, read as � (${where})`;
    }),
  ];
}
