import { expect, test } from 'vitest';
import { differences, type Effects } from '../../demos/compare/effects.ts';

const stored = (changes: Partial<Effects> = {}): Effects => ({
  orders: 7,
  completed: 7,
  points: 7,
  coupons: 7,
  notifications: 7,
  outcomes: ['59 points'],
  ...changes,
});

test('finds no difference if every order ended alike, once', () => {
  expect(differences([stored(), stored(), stored()], 7)).toEqual([]);
});

test.each([
  ['an order that is not completed', { completed: 6 }, /not every strategy stored 7 orders/],
  ['points that were awarded twice', { points: 8 }, /not every strategy stored 7 orders/],
  ['a notification that is missing', { notifications: 6 }, /not every strategy stored 7 orders/],
  ['an effect that is not the same', { outcomes: ['58 points'] }, /ended differently: 59 points \| 58 points/],
])('finds %s', (_, changes, difference) => {
  expect(differences([stored(), stored(), stored(changes)], 7)).toEqual([expect.stringMatching(difference)]);
});
