// Writing and reading events of every type, and bodies that are not events.
import { v7 as uuidv7 } from 'uuid';
import { describe, expect, test } from 'vitest';
import {
  type Event,
  type EventData,
  type EventType,
  eventSchemas,
  eventTypes,
  isEventType,
} from '../../contracts/events.ts';
import { narrowed, routingKeyOf, serviceNames, subscriptions } from '../../contracts/services.ts';
import { MAX_EVENT_BYTES } from '../../infra/bus/port.ts';
import { readMessage, storable, writeEvent } from '../../infra/messaging/envelope.ts';
import { Outbox } from '../../infra/messaging/outbox.ts';
import { followOrders } from '../../services/flash-sale/settle-tickets.ts';

const orderId = uuidv7();
const userId = 'alice';
const time = new Date('2026-11-20T10:11:12.345Z');

const examples: { readonly [T in EventType]: EventData<T> } = {
  'order.placed': { orderId, userId, currency: 'GBP', total: 5_997, itemCount: 1 },
  'points.awarded': { orderId, userId, points: 0 },
  'coupon.issued': { orderId, userId, couponId: uuidv7(), amount: 299, currency: 'GBP', expiresAt: time.toISOString() },
  'coupon.skipped': { orderId, userId, reason: 'total below 50.00 GBP' },
  'notification.sent': { orderId, userId, notificationId: uuidv7(), kind: 'order.placed' },
  'order.awaiting-payment': {
    orderId,
    userId,
    ticketId: uuidv7(),
    currency: 'GBP',
    total: 1_999,
    expiresAt: time.toISOString(),
  },
  'order.cancelled': {
    orderId,
    userId,
    reason: 'changed my mind',
    placed: { currency: 'GBP', total: 5_997, itemCount: 1 },
  },
  'points.revoked': { orderId, userId, points: 59 },
  'coupon.revoked': { orderId, userId, couponId: uuidv7() },
  'step.failed': {
    orderId,
    step: 'points',
    eventId: uuidv7(),
    of: 'order.cancelled',
    error: 'a'.repeat(1_000),
  },
  'flash-sale.ticket.accepted': {
    ticketId: uuidv7(),
    saleId: uuidv7(),
    userId,
    currency: 'GBP',
    item: { sku: 'MUG', name: 'Mug', unitPrice: 1_999 },
    holdSeconds: 60,
  },
  'flash-sale.ticket.closed': { ticketId: uuidv7(), saleId: uuidv7(), userId, outcome: 'ordered', orderId },
};

const row = (type: string, data: object) => ({
  position: 1,
  event_id: uuidv7(),
  type,
  subject: orderId,
  time,
  data: JSON.stringify(data),
  failures: 0,
});
const bytes = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const written = (type: EventType = 'order.placed') =>
  JSON.parse(writeEvent(eventSchemas, row(type, examples[type]), '/services/order').body) as Record<string, unknown>;

test('a service receives exactly the orders that it accepts, if it receives only those with a routing key', () => {
  const keys: { [service: string]: { [type: string]: string } } = narrowed;
  const order = examples['order.placed'];
  const flashSale = followOrders(new Outbox('sluice_flash_sale'), 1_000);
  for (const data of [order, { ...order, ticketId: uuidv7() }]) {
    const source = row('order.placed', data);
    const { routingKey } = writeEvent(eventSchemas, source, '/services/order', (event) => routingKeyOf(event as Event));
    const event = written('order.placed') as unknown as Event<'order.placed'>;
    expect(routingKey === keys['flash-sale']?.['order.placed']).toBe(flashSale.accepts?.({ ...event, data }));
  }
  expect(Object.entries(keys).map(([service, types]) => [service, Object.keys(types)])).toEqual([
    ['flash-sale', ['order.placed']],
  ]);
});

describe('an event', () => {
  test.each(eventTypes)('%s is a CloudEvent and is read back unchanged', (type) => {
    const source = row(type, examples[type]);
    const { id, body } = writeEvent(eventSchemas, source, '/services/order');
    expect(JSON.parse(body)).toEqual({
      specversion: '1.0',
      id,
      source: '/services/order',
      type,
      subject: orderId,
      time: '2026-11-20T10:11:12.345Z',
      datacontenttype: 'application/json',
      data: examples[type],
    });
    expect(readMessage(eventSchemas, bytes(body))).toMatchObject({ messageId: id, event: JSON.parse(body) });
  });

  test.each([
    ['an unknown type', row('order.teleported', {})],
    ['data of another type', row('order.placed', examples['points.awarded'])],
    ['missing data', row('order.placed', {})],
  ])('is not written with %s', (_what, wrong) => {
    expect(() => writeEvent(eventSchemas, wrong, '/services/order')).toThrow();
  });

  test('may have unknown fields', () => {
    const { event } = readMessage(eventSchemas, bytes({ ...written(), traceparent: '00-x' })) as { event: object };
    expect(event).toMatchObject({ type: 'order.placed', subject: orderId });
  });

  test('is read with its ids in lower case', () => {
    const shouted = { ...written(), id: String(written().id).toUpperCase() };
    const { event } = readMessage(eventSchemas, bytes(shouted)) as { event: { id: string } };
    expect(event.id).toBe(shouted.id.toLowerCase());
  });
});

describe('an unreadable body', () => {
  const unreadable = (body: Uint8Array) => {
    const read = readMessage(eventSchemas, body);
    if ('event' in read) throw new Error('the body is readable');
    return read;
  };

  test('keeps its id, type and subject if it has them', () => {
    const wrong: Record<string, unknown> = { ...written(), data: {} };
    expect(unreadable(bytes(wrong))).toEqual({
      body: bytes(wrong),
      messageId: wrong.id,
      type: 'order.placed',
      subject: orderId,
      error: expect.stringMatching(/^unreadable: data\.orderId: .*; data\.userId: /),
    });
  });

  test('without an id gets one that is derived from its bytes', () => {
    const one = unreadable(bytes('{"type":"order.placed"}')).messageId;
    expect(one).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(unreadable(bytes('{"type":"order.placed"}')).messageId).toBe(one);
    expect(unreadable(bytes('{"type":"order.placed" }')).messageId).not.toBe(one);
  });

  test.each([
    ['invalid JSON', bytes('{'), /JSON/],
    ['an empty body', bytes(''), /JSON/],
    ['invalid UTF-8', Buffer.from([0x22, 0xff, 0x22]), /utf-8/i],
    ['null', bytes('null'), /no type/],
    ['an unknown type', bytes({ type: 'order.teleported' }), /unknown type order\.teleported/],
    ['the type __proto__', bytes({ type: '__proto__' }), /unknown type __proto__/],
    [
      'a body that is too large',
      bytes(JSON.stringify(written()).padEnd(MAX_EVENT_BYTES + 1)),
      /65537 bytes, allowed 65536/,
    ],
  ])('%s is named in the error', (_what, body, error) => {
    expect(unreadable(body).error).toMatch(error);
  });

  test('does not include a body of exactly the size limit', () => {
    expect(readMessage(eventSchemas, bytes(JSON.stringify(written()).padEnd(MAX_EVENT_BYTES)))).toHaveProperty('event');
  });

  test('has a type and an error that PostgreSQL can store', () => {
    const { type, error } = unreadable(bytes({ type: `a\u0000b\ud800${'c'.repeat(2_000)}` }));
    for (const text of [type, storable(error)]) {
      expect(text).not.toContain('\u0000');
      expect(text?.isWellFormed()).toBe(true);
      expect(text?.length).toBeLessThanOrEqual(1_000);
    }
  });
});

test('every event type has a subscriber, and every subscription is an event type', () => {
  const subscribed = serviceNames.flatMap((name) => subscriptions[name] as readonly string[]);
  expect(new Set(subscribed)).toEqual(new Set(eventTypes));
  expect(subscribed.every(isEventType)).toBe(true);
});
