import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { correctionOf } from '../../app/admin/corrected-event.ts';
import { eventSchemas } from '../../contracts/events.ts';
import { Problem } from '../../infra/http/problem.ts';

const orderId = '019a0000-0000-7000-8000-0000000000aa';
const ticketId = '019a0000-0000-7000-8000-0000000000bb';
const placed = { orderId, userId: 'alice', currency: 'GBP', total: 100, itemCount: 1 };

const event = (type: string, data: unknown) => ({
  specversion: '1.0',
  id: '019a0000-0000-7000-8000-000000000001',
  source: '/services/order',
  type,
  subject: orderId,
  time: '2026-11-20T16:15:58.123Z',
  datacontenttype: 'application/json',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  data,
});
const body = (type: string, data: unknown) => Buffer.from(JSON.stringify(event(type, data)));

/** The paths that the data is rejected for. */
function rejectedFor(original: unknown, data: Readonly<Record<string, unknown>>, type = 'order.placed'): string[] {
  try {
    correctionOf(body(type, original), data);
  } catch (error) {
    if (error instanceof z.ZodError) return error.issues.map(({ path }) => path.join('.'));
    throw error;
  }
  return [];
}

test('the event keeps all but its data, and matches its schema', () => {
  const correction = correctionOf(body('order.placed', { ...placed, total: -5 }), placed);
  expect(JSON.parse(correction.event)).toEqual(event('order.placed', placed));
  expect(eventSchemas['order.placed'].safeParse(JSON.parse(correction.event)).success).toBe(true);
  expect(correction).toMatchObject({ before: { total: -5 }, after: placed });
});

describe('the data is rejected', () => {
  test.each([
    ['another order', { ...placed, orderId: ticketId }, ['data.orderId']],
    ['another user', { ...placed, userId: 'bob' }, ['data.userId']],
    ['a new id', { ...placed, ticketId }, ['data.ticketId']],
    ['an id less', { currency: 'GBP', total: 100, itemCount: 1, userId: 'alice' }, ['data.orderId', 'data.orderId']],
    ['a value out of bounds', { ...placed, itemCount: 0 }, ['data.itemCount']],
    ['a misspelt field', { ...placed, itemcount: 2 }, ['data.itemcount']],
  ])('for %s', (_what, data, paths) => expect(rejectedFor(placed, data)).toEqual(paths));

  test('for another id at any depth, and for fields of nested objects', () => {
    const accepted = {
      ticketId,
      saleId: orderId,
      userId: 'alice',
      currency: 'GBP',
      item: { sku: 'MUG', name: 'Mug', unitPrice: 100 },
      holdSeconds: 0,
    };
    const type = 'flash-sale.ticket.accepted';
    const item = (more: object) => ({ ...accepted, item: { ...accepted.item, ...more } });
    expect(rejectedFor(accepted, item({ unitPrice: 90 }), type)).toEqual([]);
    expect(rejectedFor(accepted, item({ unitprice: 90 }), type)).toEqual(['data.item.unitprice']);
    expect(rejectedFor(item({ partId: 'a' }), item({ partId: 'b' }), type)).toContain('data.item.partId');
  });

  test('if the event exceeds 64 KiB', () => {
    const padded = { ...placed, note: 'x'.repeat(66_000) };
    expect(rejectedFor(padded, padded)).toEqual(['data']);
  });
});

test('a field that only a newer version knows stays as it is', () => {
  const newer = { ...placed, channel: 'app' };
  expect(rejectedFor(newer, { ...newer, total: 200 })).toEqual([]);
  expect(rejectedFor(newer, { ...newer, channel: 'web' })).toEqual(['data.channel']);
});

test.each([
  ['no JSON', Buffer.from('{')],
  ['not UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
  ['no object', Buffer.from('7')],
  ['no type', Buffer.from('{}')],
  ['an unknown type', body('order.eaten', placed)],
  ['a type of every object', body('constructor', placed)],
  ['no id', Buffer.from(JSON.stringify({ ...event('order.placed', placed), id: 'x' }))],
])('a message with %s cannot be corrected', (_what, original) => {
  expect(() => correctionOf(original, placed)).toThrow(Problem);
});
