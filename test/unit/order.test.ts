import { v7 as uuidv7 } from 'uuid';
import { describe, expect, test } from 'vitest';
import type { Event, EventData, StepResult } from '../../contracts/events.ts';
import type { PlaceOrderRequest, StepName } from '../../contracts/orders.ts';
import { fingerprint, newOrder, placedOrder, shownStep, stepReport } from '../../services/order/order.ts';

const mug = { sku: 'MUG', name: 'Mug', quantity: 3, unitPrice: 1_999 };
const request: PlaceOrderRequest = { userId: 'alice', currency: 'GBP', items: [mug] };
const ids = { id: uuidv7(), placedEventId: uuidv7() };

describe('a new order', () => {
  test('has the items of its request, and their total', () => {
    const order = newOrder({ ...request, items: [mug, { sku: 'PIN', quantity: 2, unitPrice: 1 }] }, undefined, ids);
    expect(order).toMatchObject({ ...ids, userId: 'alice', currency: 'GBP', total: 5_999 });
    expect([order.idempotencyKey, order.requestHash]).toEqual([undefined, undefined]);
  });

  test('keeps the fingerprint of the request that used its key', () => {
    const order = newOrder(request, 'key', ids);
    expect([order.idempotencyKey, order.requestHash]).toEqual(['key', fingerprint(request)]);
  });

  test('is shown with pending steps and without internal fields', () => {
    const order = newOrder(request, 'key', ids);
    expect(placedOrder(order, new Date('2026-11-20T10:11:12.345Z'))).toEqual({
      id: ids.id,
      ...request,
      status: 'placed',
      total: 5_997,
      createdAt: '2026-11-20T10:11:12.345Z',
      steps: { points: { status: 'pending' }, coupon: { status: 'pending' }, notification: { status: 'pending' } },
    });
  });
});

describe('the fingerprint of a request', () => {
  test('does not depend on the order of keys', () => {
    const { sku, name, quantity, unitPrice } = mug;
    const same = { items: [{ unitPrice, quantity, name, sku }], currency: 'GBP', userId: 'alice' };
    expect(fingerprint(same)).toBe(fingerprint(request));
  });

  const others: [string, PlaceOrderRequest][] = [
    ['user', { ...request, userId: 'bob' }],
    ['currency', { ...request, currency: 'EUR' }],
    ['quantity', { ...request, items: [{ ...mug, quantity: 4 }] }],
    ['price', { ...request, items: [{ ...mug, unitPrice: 2_000 }] }],
    ['name', { ...request, items: [{ ...mug, name: 'mug' }] }],
    ['absent name', { ...request, items: [{ sku: 'MUG', quantity: 3, unitPrice: 1_999 }] }],
    ['number of items', { ...request, items: [mug, mug] }],
  ];
  test.each(others)('differs for another %s', (_what, other) => {
    expect(fingerprint(other)).not.toBe(fingerprint(request));
  });

  test('differs for another order of items, and for other boundaries between texts', () => {
    const of = (...skus: string[]) =>
      fingerprint({ ...request, items: skus.map((sku) => ({ sku, quantity: 1, unitPrice: 1 })) });
    expect(of('a', 'b')).not.toBe(of('b', 'a'));
    expect(of('a,b')).not.toBe(of('a', 'b'));
  });
});

describe('the report of a result', () => {
  const time = '2026-11-20T10:11:12.345Z';
  const event = <T extends StepResult>(type: T, data: EventData<T>): Event<StepResult> =>
    ({
      specversion: '1.0',
      id: uuidv7(),
      source: '/services/test',
      type,
      subject: data.orderId,
      time,
      datacontenttype: 'application/json',
      data,
    }) as Event<StepResult>;
  const orderId = '01993a5e-0000-7000-8000-000000000001';
  const userId = 'alice';
  const awarded = event('points.awarded', { orderId, userId, points: 59 });
  const failed = (step: StepName) => event('step.failed', { orderId, step, eventId: uuidv7(), error: 'no luck' });

  test('each result reports its step', () => {
    const coupon = { orderId, userId, couponId: uuidv7(), amount: 299, currency: 'GBP', expiresAt: time };
    const sent = { orderId, userId, notificationId: uuidv7(), kind: 'order.placed' as const };
    const results = [
      awarded,
      event('coupon.issued', coupon),
      event('notification.sent', sent),
      event('coupon.skipped', { orderId, userId, reason: 'too small' }),
      failed('notification'),
    ];
    expect(results.map(stepReport)).toEqual(
      [
        { name: 'points', step: { status: 'done', at: time, detail: '59 points' } },
        { name: 'coupon', step: { status: 'done', at: time, detail: '2.99 GBP' } },
        { name: 'notification', step: { status: 'done', at: time } },
        { name: 'coupon', step: { status: 'skipped', at: time, detail: 'too small' } },
        { name: 'notification', step: { status: 'failed', at: time } },
      ].map((report) => ({ orderId, ...report, reversalFailed: false })),
    );
  });

  test('hides an internal error that 0.1.0 stored', () => {
    const stored = { status: 'failed', at: time, detail: 'connect ECONNREFUSED 10.1.2.3:5432' } as const;
    expect(shownStep(stored, undefined)).toEqual({
      status: 'failed',
      at: time,
      detail: 'the step failed; an operator can retry it',
    });
  });

  test('a step that cannot be reverted is a failed reversal', () => {
    const data = { orderId, step: 'points' as const, eventId: uuidv7(), of: 'order.cancelled', error: 'no luck' };
    expect(stepReport(event('step.failed', data))).toEqual({
      orderId,
      name: 'points',
      step: { status: 'failed', at: time },
      reversalFailed: true,
    });
  });
});
