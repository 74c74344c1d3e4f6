// Dates as shops write them. Whether 1/12/2010 is in January or in December is decided over the whole file.
import { CliError } from '../shared/errors.ts';
import { printable } from '../shared/terminal.ts';

export const dateOrders = ['dmy', 'mdy', 'ymd'] as const;
export type DateOrder = (typeof dateOrders)[number];
export const orderNames = { dmy: 'day first', mdy: 'month first', ymd: 'year first' } satisfies Record<
  DateOrder,
  string
>;

/** For messages about a date that cannot be read. */
export const DATE_FORMS =
  '2010-12-01 08:26:00, 12/1/2010 8:26, 01.12.2010 08:26, 01-12-10 8:26 AM, 1-Dec-2010 8:26 (in the order of the file)';

const DATE = /^(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})(?:(?:T|,? +)(.+))?$/;
/** Its order is clear, so the order of the file does not matter. */
const NAMED_DATE = /^(\d{1,2})([-/. ])([a-z]{3,9})\2(\d{4}|\d{2})(?:,? +(.+))?$/i;
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const TIME = new RegExp(
  String.raw`^(\d{1,2})([:.])(\d{2})(?:\2(\d{2})(?:[.,]\d+)?)?` +
    String.raw`(?:[ \u00a0\u202f]?([AP])\.?M\.?)?(?: ?(?:Z|UTC|([+-])(\d{2}):?(\d{2})))?$`,
  'i',
);
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/**
 * The milliseconds of a date in one of DATE_FORMS; undefined for any other text, and for days that do not exist. A date
 * that begins with a year of four digits is read as year, month, day for any `order`. Only differences matter (for the
 * times of a replay), so the shop's local time is read as UTC.
 */
export function readTime(value: string, order: DateOrder): number | undefined {
  const date = DATE.exec(value);
  const [, first = '', , second = '', third = '', rest] = date ?? NAMED_DATE.exec(value) ?? [];
  const day = date ? dayOf(first, second, third, order) : dayOfCalendar(third, monthOf(second), first);
  const time = timeOfDay(rest);
  return day === undefined || time === undefined ? undefined : day + time;
}

/** `Dec`, `Sept` and `december` by their first letters; 0 for other text. */
const monthOf = (name: string): string => String(MONTHS.indexOf(name.slice(0, 3).toLowerCase()) + 1);

function dayOf(first: string, second: string, third: string, order: DateOrder): number | undefined {
  if (first.length > 2 || order === 'ymd') return dayOfCalendar(first, second, third);
  return order === 'dmy' ? dayOfCalendar(third, second, first) : dayOfCalendar(third, first, second);
}

function dayOfCalendar(year: string, month: string, day: string): number | undefined {
  if ((year.length !== 2 && year.length !== 4) || day.length > 2) return undefined;
  const time = Date.UTC(Number(year.padStart(4, '20')), Number(month) - 1, Number(day));
  // Date.UTC moves 31 February into March; it is rejected instead.
  const date = new Date(time);
  return date.getUTCDate() === Number(day) && date.getUTCMonth() === Number(month) - 1 ? time : undefined;
}

/**
 * The milliseconds since midnight, which an offset from UTC can make negative. A date without a time counts as
 * midnight.
 */
function timeOfDay(value: string | undefined): number | undefined {
  if (value === undefined) return 0;
  const [match, hours, , minute, second = '0', half, sign, offsetHours, offsetMinutes] = TIME.exec(value) ?? [];
  if (match === undefined) return undefined;
  const isHalf = half !== undefined;
  if (isHalf && (Number(hours) < 1 || Number(hours) > 12)) return undefined;
  const hour = isHalf ? (Number(hours) % 12) + (half.toUpperCase() === 'P' ? 12 : 0) : Number(hours);
  if (hour > 23 || Number(minute) > 59 || Number(second) > 59) return undefined;
  const offset = sign ? Number(`${sign}1`) * (Number(offsetHours) * 60 + Number(offsetMinutes)) : 0;
  return (hour * 60 + Number(minute) - offset) * MINUTE_MS + Number(second) * 1_000;
}

export interface DateDecision {
  readonly order: DateOrder;
  /** For people: why, and how to change it. */
  readonly reason: string;
  /** Whether the file leaves a choice. */
  readonly ambiguous: boolean;
}

interface Seen {
  readonly line: number;
  readonly cell: string;
}

/** Collects what the dates of a file prove, in a few numbers. */
export class DateSurvey {
  /** By order: the first date that fits no other one. */
  readonly #proofs = new Map<DateOrder, Seen>();
  /** The dates that fit both orders: the first, and the days from the earliest to the latest in each order. */
  #ambiguous: Seen | undefined;
  readonly #spans = { dmy: new Span(), mdy: new Span() };
  #last = '';

  add(cell: string, line: number): void {
    if (cell === this.#last) return; // the lines of an invoice
    this.#last = cell;
    const [, first = '', , second = '', third = ''] = DATE.exec(cell) ?? [];
    if (first === '' || first.length > 2) return; // no date, or its order is clear
    const [dmy, mdy, ymd] = dateOrders.map((order) => dayOf(first, second, third, order));
    if (dmy !== undefined && mdy !== undefined) {
      this.#ambiguous ??= { line, cell: printable(cell) };
      this.#spans.dmy.add(dmy);
      this.#spans.mdy.add(mdy);
      return;
    }
    // A year of two digits in first place is considered only if nothing else fits.
    const proven = (dmy !== undefined && 'dmy') || (mdy !== undefined && 'mdy') || (ymd !== undefined && 'ymd');
    if (proven && !this.#proofs.has(proven)) this.#proofs.set(proven, { line, cell: printable(cell) });
  }

  /** Throws a CliError if the dates contradict one another. `chosen` is the user's decision. */
  decide(chosen: DateOrder | undefined, file: string): DateDecision {
    if (chosen) return { order: chosen, reason: 'by --date-order', ambiguous: false };
    const [proof, contradiction] = this.#proofs;
    if (proof && contradiction) throw new CliError(contradictory(file, proof, contradiction));
    if (proof) return { order: proof[0], reason: `line ${proof[1].line} has ${proof[1].cell}`, ambiguous: false };
    if (!this.#ambiguous) return { order: 'ymd', reason: 'no date leaves a choice', ambiguous: false };
    const { order, because } = this.#assume(this.#ambiguous.cell);
    const other = order === 'dmy' ? 'mdy' : 'dmy';
    const { line, cell } = this.#ambiguous;
    const choice = `--date-order ${other} reads ${orderNames[other]}`;
    const reason = `assumed, ${because}: each date can be read both ways (line ${line} has ${cell}); ${choice}`;
    return { order, reason, ambiguous: true };
  }

  /**
   * Takes the order in which the file covers less time: consecutive days are likelier than the same day of many months.
   */
  #assume(cell: string): { order: 'dmy' | 'mdy'; because: string } {
    const [dmy, mdy] = [this.#spans.dmy.days, this.#spans.mdy.days];
    if (dmy === mdy)
      return cell.includes('.')
        ? { order: 'dmy', because: 'as usual with points' }
        : { order: 'mdy', because: 'as in the data set' };
    const order = dmy < mdy ? 'dmy' : 'mdy';
    return { order, because: `because the file then covers ${Math.min(dmy, mdy)} days and not ${Math.max(dmy, mdy)}` };
  }
}

class Span {
  #from = Infinity;
  #to = -Infinity;

  add(time: number): void {
    this.#from = Math.min(this.#from, time);
    this.#to = Math.max(this.#to, time);
  }

  get days(): number {
    return Math.round((this.#to - this.#from) / DAY_MS) + 1;
  }
}

function contradictory(file: string, ...proofs: readonly (readonly [DateOrder, Seen])[]): string {
  const lines = proofs.map(([order, { line, cell }]) => `line ${line} has ${cell}, which is ${orderNames[order]}`);
  const orders = proofs.map(([order]) => order).join(' or ');
  return (
    `the dates of ${file} contradict each other: ${lines.join('; ')}. Nothing was placed. ` +
    `--date-order ${orders} selects one order and rejects the lines that do not fit`
  );
}
