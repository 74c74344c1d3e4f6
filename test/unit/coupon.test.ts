import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decide } from '../../services/coupon/coupon.ts';

const settings = (percent: number, minMajorUnits: number) => ({
  COUPON_PERCENT: percent,
  COUPON_MIN_MAJOR_UNITS: minMajorUnits,
});

test.each([
  [5_000, 'GBP', { amount: 250 }],
  [5_997, 'GBP', { amount: 299 }], // 299.85, rounded down
  [4_999, 'GBP', { reason: 'total below 50.00 GBP' }],
  [50, 'JPY', { amount: 2 }],
  [49, 'JPY', { reason: 'total below 50 JPY' }],
  [50_000, 'KWD', { amount: 2_500 }],
  [0, 'GBP', { reason: 'total below 50.00 GBP' }],
])('a total of %i %s: %j', (total, currency, decision) => {
  expect(decide({ total, currency }, settings(5, 50))).toEqual(decision);
});

test('an amount that rounds down to 0 is no coupon', () => {
  const reason = '5 % of the total is less than the smallest coin';
  expect(decide({ total: 19, currency: 'JPY' }, settings(5, 0))).toEqual({ reason });
  expect(decide({ total: 5_000, currency: 'GBP' }, settings(0, 50))).toHaveProperty('reason');
});

test('the amount is the exact percentage, rounded down, of any total', () => {
  const percents = fc.integer({ min: 1, max: 100 });
  fc.assert(
    fc.property(fc.integer({ min: 100, max: Number.MAX_SAFE_INTEGER }), percents, (total, percent) => {
      const decision = decide({ total, currency: 'GBP' }, settings(percent, 0));
      const exact = (BigInt(total) * BigInt(percent)) / 100n;
      expect('amount' in decision && BigInt(decision.amount)).toBe(exact);
    }),
  );
});
