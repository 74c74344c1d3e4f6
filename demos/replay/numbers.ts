// Numbers as spreadsheets and data tools write them: `6`, `6.0`, `+6`, `1e3`, `1,234.50`, `2,55`. Which mark stands
// before the decimals is decided over the whole file. Digits are moved as text, never computed, so no amount changes.

export type DecimalMark = '.' | ',';

/** How the file writes numbers. */
export interface NumberForm {
  readonly mark: DecimalMark;
  /** Whether the other mark separates groups of three digits: only if the file proves it. */
  readonly grouped: boolean;
}

const PLAIN = /^-?\d+(?:\.\d+)?$/;
/** By mark: sign, whole part, decimals, exponent. Groups have a mark, a space or an apostrophe between them. */
const NUMBER = {
  '.': /^([+-]?)(\d*|\d{1,3}(?:([,'’ \u00a0\u202f])\d{3})(?:\3\d{3})*)(?:\.(\d*))?(?:e([+-]?\d{1,3}))?$/i,
  ',': /^([+-]?)(\d*|\d{1,3}(?:([.'’ \u00a0\u202f])\d{3})(?:\3\d{3})*)(?:,(\d*))?(?:e([+-]?\d{1,3}))?$/i,
};

/** As `-1234.50`: a sign only if negative, a point before decimals. Undefined for text that is no such number. */
export function plainNumber(text: string, { mark, grouped }: NumberForm): string | undefined {
  if (mark === '.' && PLAIN.test(text)) return text;
  const match = NUMBER[mark].exec(text);
  if (!match) return undefined;
  const [, sign = '', whole = '', group = '', decimals = '', exponent = '0'] = match;
  if (whole === '' && decimals === '') return undefined;
  if ((group === ',' || group === '.') && !grouped) return undefined;
  return (sign === '-' ? '-' : '') + shifted(whole.replaceAll(group, ''), decimals, Number(exponent));
}

/** Moves the point by `exponent` digits. */
function shifted(whole: string, decimals: string, exponent: number): string {
  const digits = whole + decimals;
  const point = whole.length + exponent;
  const [before, after] =
    point > 0 ? [digits.slice(0, point).padEnd(point, '0'), digits.slice(point)] : ['0', '0'.repeat(-point) + digits];
  return after === '' ? before : `${before}.${after}`;
}

/** A whole number without its decimal zeros; undefined if it has other decimals. */
export function plainInteger(text: string, form: NumberForm): string | undefined {
  const [, integer] = /^(-?\d+)(?:\.0*)?$/.exec(plainNumber(text, form) ?? '') ?? [];
  return integer;
}

/**
 * An id that a tool took for a number: `17850.0` is 17850, and so is `17.850` if points separate groups. Leading zeros
 * stay, and text stays as it is.
 */
export function plainId(text: string, { mark, grouped }: NumberForm): string {
  // A group has three digits, so one or two zeros are decimals, with either mark.
  const [, digits] = (mark === '.' ? /^(\d+)(?:\.0+|,00?)$/ : /^(\d+)(?:,0+|\.00?)$/).exec(text) ?? [];
  if (digits !== undefined) return digits;
  const isGrouped = grouped && (mark === '.' ? /^\d{1,3}(,\d{3})+$/ : /^\d{1,3}(\.\d{3})+$/).test(text);
  return isGrouped ? text.replace(/[.,]/g, '') : text;
}

const NUMERIC = /^[+-]?[\d.,'’ \u00a0\u202f]+$/;

/** Collects what the numbers of a file prove about its decimal mark, in a few counters. */
export class NumberSurvey {
  /** Cells that prove a mark to be the decimal one. */
  readonly #proofs = { '.': 0, ',': 0 };
  /** Cells such as `1,234`, whose mark can be either. */
  readonly #open = { '.': 0, ',': 0 };

  add(cell: string): void {
    const point = cell.lastIndexOf('.');
    const comma = cell.lastIndexOf(',');
    if ((point < 0 && comma < 0) || !NUMERIC.test(cell)) return;
    const [mark, other, at] = point > comma ? (['.', ',', point] as const) : ([',', '.', comma] as const);
    if (cell.includes(other)) this.#proofs[mark]++;
    else if (cell.indexOf(mark) < at)
      this.#proofs[other]++; // twice, so it separates groups
    else if (cell.length - at === 4 && /^[+-]?[1-9]\d{0,2}$/.test(cell.slice(0, at))) this.#open[mark]++;
    else this.#proofs[mark]++;
  }

  /** The mark that more cells have. Without a proof, a mark is the decimal one, because 1.234 must not become 1234. */
  decide(): NumberForm {
    const proven = this.#proofs['.'] + this.#proofs[','] > 0;
    const counts = proven ? this.#proofs : this.#open;
    return { mark: counts[','] > counts['.'] ? ',' : '.', grouped: proven };
  }
}
