import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { currency, formatMoney, minorUnitsPerMajor } from '../../contracts/money.ts';

describe('money', () => {
  test.each([
    ['GBP', 100],
    ['JPY', 1],
    ['KWD', 1_000],
    ['IQD', 1_000], // where Intl says 1
    ['CLF', 10_000],
  ])('%s has %i minor units in a major unit, by ISO 4217', (code, units) => {
    expect(minorUnitsPerMajor(code)).toBe(units);
    expect(currency.safeParse(code).success).toBe(true);
  });

  test.each(['gbp', 'GBP ', 'XYZ', 'XAU', '', 'constructor', null])('%j is not a currency', (code) => {
    expect(currency.safeParse(code).success).toBe(false);
  });

  test('an unknown code has no minor units', () => {
    expect(() => minorUnitsPerMajor('XYZ')).toThrow(RangeError);
  });

  test.each([
    [0, 'GBP', '0.00 GBP'],
    [5, 'GBP', '0.05 GBP'],
    [1_999, 'GBP', '19.99 GBP'],
    [1_999, 'JPY', '1999 JPY'],
    [1_005, 'KWD', '1.005 KWD'],
    [Number.MAX_SAFE_INTEGER, 'EUR', '90071992547409.91 EUR'],
  ])('%i %s is written as %s', (amount, code, written) => {
    expect(formatMoney(amount, code)).toBe(written);
  });

  test('formatting loses no digit', () => {
    const codes = fc.constantFrom('GBP', 'JPY', 'KWD', 'CLF');
    fc.assert(
      fc.property(fc.maxSafeNat(), codes, (amount, code) => {
        const digits = formatMoney(amount, code).replace(/[^\d]/g, '');
        expect(Number(digits)).toBe(amount);
      }),
    );
  });
});
