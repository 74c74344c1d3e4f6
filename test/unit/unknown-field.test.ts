import { describe, expect, test } from 'vitest';
import { moment } from '../../contracts/text.ts';
import { nearestName, unknownField } from '../../infra/http/unknown-field.ts';

const item = ['sku', 'name', 'quantity', 'unitPrice'];
const sale = ['sku', 'name', 'unitPrice', 'currency', 'stock', 'queueCap', 'drainPerSecond', 'opensAt', 'closesAt'];

describe('the name that was probably meant', () => {
  test.each([
    ['qty', item, 'quantity'],
    ['qunatity', item, 'quantity'],
    ['Quantity', item, 'quantity'],
    ['unit_price', item, 'unitPrice'],
    ['unit-price', item, 'unitPrice'],
    ['price', item, 'unitPrice'],
    ['skus', item, 'sku'],
    ['user', ['userId'], 'userId'],
    ['userID', ['userId'], 'userId'],
    ['cap', sale, 'queueCap'],
    ['openAt', sale, 'opensAt'],
    ['opens_at', sale, 'opensAt'],
    ['drain', sale, 'drainPerSecond'],
    ['note', item, undefined],
    ['status', sale, undefined],
    ['', item, undefined],
    ['constructor', item, undefined],
    ['q'.repeat(100_000), item, undefined],
  ])('%s', (name, known, expected) => expect(nearestName(name, known)).toBe(expected));

  test('otherwise all known names are listed, or that there are none', () => {
    expect(unknownField('note', item)).toBe('is not a known field; known fields are sku, name, quantity, unitPrice');
    expect(unknownField('note', [])).toBe('must be left out: this request has no fields');
  });
});

describe('a time in a request', () => {
  test.each([
    ['2026-11-27T20:00:00Z', '2026-11-27T20:00:00.000000Z'],
    ['2026-11-27T21:00:00+01:00', '2026-11-27T20:00:00.000000Z'],
    ['2026-11-27T21:00:00.5+0100', '2026-11-27T20:00:00.500000Z'],
    ['2026-11-27 15:00:00.123456-05', '2026-11-27T20:00:00.123456Z'],
    ['2026-11-27t20:00z', '2026-11-27T20:00:00.000000Z'],
    ['2026-12-31T23:59:59.9999997Z', '2027-01-01T00:00:00.000000Z'],
    ['2026-01-01T00:30:00+05:45', '2025-12-31T18:45:00.000000Z'],
  ])('%s is %s', (text, utc) => expect(moment.parse(text)).toBe(utc));

  test.each([
    '2026-11-27T20:00:00',
    '2026-11-27',
    '20:00Z',
    '2026-02-29T00:00:00Z',
    '2026-11-27T20:00:00+24:00',
    'now',
    '',
  ])('%s is none', (text) =>
    expect(moment.safeParse(text).error?.issues).toMatchObject([{ message: expect.stringContaining('+01:00') }]),
  );
});
