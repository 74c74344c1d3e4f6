import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pointsFor } from '../../services/points/points.ts';

test.each([
  [1_999, 'GBP', 1, 19],
  [99, 'GBP', 1, 0],
  [0, 'GBP', 1, 0],
  [1_999, 'JPY', 1, 1_999],
  [1_999, 'KWD', 1, 1],
  [1_999, 'GBP', 10, 190],
  [1_999, 'GBP', 0, 0],
])('%i %s at %i points for each whole major unit: %i points', (total, currency, perMajorUnit, points) => {
  expect(pointsFor({ total, currency }, perMajorUnit)).toBe(points);
});

test('the points of any total are a safe integer', () => {
  fc.assert(
    fc.property(
      fc.maxSafeNat(),
      fc.constantFrom('GBP', 'JPY', 'CLF'),
      fc.nat({ max: 1_000 }),
      (total, currency, each) => {
        expect(pointsFor({ total, currency }, each)).toSatisfy(
          (points: number) => Number.isSafeInteger(points) && points >= 0,
        );
      },
    ),
  );
});
