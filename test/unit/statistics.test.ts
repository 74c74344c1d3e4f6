import { expect, test } from 'vitest';
import { latencyOf, mean, median, sum } from '../../demos/shared/statistics.ts';

test('percentiles are values that were measured', () => {
  const downFrom = (most: number) => Array.from({ length: most }, (_, index) => most - index);
  expect(latencyOf(downFrom(100))).toEqual({ count: 100, p50: 50, p95: 95, p99: 99, max: 100 });
  expect(latencyOf(downFrom(200))).toEqual({ count: 200, p50: 100, p95: 190, p99: 198, max: 200 });
  expect(latencyOf([7])).toEqual({ count: 1, p50: 7, p95: 7, p99: 7, max: 7 });
  expect(latencyOf([])).toBeUndefined();
});

test('a median is the value in the middle, or the mean of the two there', () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([9, 1, 5, 100])).toBe(7);
  expect(median([])).toBeNaN();
});

test('a sum is zero and a mean is not a number without values', () => {
  expect([sum([1, 2, 6]), sum([]), mean([1, 2, 6])]).toEqual([9, 0, 3]);
  expect(mean([])).toBeNaN();
});
