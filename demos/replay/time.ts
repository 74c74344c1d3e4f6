// The time of an invoice. Only differences matter (for the pace of a replay), so the shop's local time is read as UTC.

const MONTH_FIRST = /^(\d{1,2})\/(\d{1,2})\/(\d{4}|\d{2}) (\d{1,2}):(\d{2})(?::(\d{2}))?$/;
const YEAR_FIRST = /^(\d{4})-(\d{2})-(\d{2})[ T](\d{2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?$/;

/**
 * The milliseconds of `12/1/10 8:26`, `12/1/2010 8:26` (month/day/year, as in the dataset) or `2010-12-01 08:26:00` (as
 * spreadsheets export it); undefined for any other text, and for days that do not exist.
 */
export function readTime(value: string): number | undefined {
  const [, month, day, year, ...clock] = MONTH_FIRST.exec(value) ?? [];
  if (year) return fromParts(year.length === 2 ? `20${year}` : year, month, day, clock);
  const [, isoYear, isoMonth, isoDay, ...isoClock] = YEAR_FIRST.exec(value) ?? [];
  return isoYear ? fromParts(isoYear, isoMonth, isoDay, isoClock) : undefined;
}

function fromParts(year: string, month = '', day = '', [hour, minute, second]: readonly (string | undefined)[]) {
  const two = (part = '0') => part.padStart(2, '0');
  const date = `${year}-${two(month)}-${two(day)}`;
  const time = Date.parse(`${date}T${two(hour)}:${two(minute)}:${two(second)}Z`);
  // Date.parse moves 31 February into March; it is rejected instead.
  return Number.isNaN(time) || !new Date(time).toISOString().startsWith(date) ? undefined : time;
}
