// Decimal prices as integers in the minor unit, exactly: the digits are moved, never multiplied (2.55 * 100 is
// 254.99999999999997).
import { minorUnitsPerMajor } from '../../contracts/money.ts';

const DECIMAL = /^(-?)(\d*)(?:\.(\d*))?$/;

/**
 * `2.55`, `GBP` as 255. Zeros beyond the currency's decimals are dropped; other digits there are `too-precise`, because
 * rounding would change what the customer pays. The sign is kept. Results above 2^53-1 are not exact; the caller
 * rejects them.
 */
export function toMinorUnits(decimal: string, currency: string): number | 'unreadable' | 'too-precise' {
  const [, sign = '', whole = '', fraction = ''] = DECIMAL.exec(decimal) ?? [];
  if (whole === '' && fraction === '') return 'unreadable';
  const decimals = String(minorUnitsPerMajor(currency)).length - 1;
  if (/[^0]/.test(fraction.slice(decimals))) return 'too-precise';
  const amount = Number(whole + fraction.slice(0, decimals).padEnd(decimals, '0'));
  return sign === '-' && amount !== 0 ? -amount : amount;
}
