// One example of each event, for /asyncapi.json: the story of a buyer who pays for a lamp of a flash sale, cancels the
// order of a set of mugs, and gets no coupon for a pen.
import { type Event, type EventData, type EventType, eventTypes } from './events.ts';
import type { ServiceName } from './services.ts';

const lampOrder = '019ac8f0-1c2d-7a3e-8b4f-5a6b7c8d9e0f';
const mugOrder = '019ac8f1-2b3c-7d4e-9f50-617283940a5b';
const penOrder = '019ac8f1-3c4d-7e5f-8061-728394a5b6c7';
const lampTicket = '019ac8ef-0a1b-7c2d-8e3f-405162738495';
const mugTicket = '019ac8ee-9d8c-7b6a-8594-837261504f3e';
const sale = '019ac8e0-1122-7334-8556-778899aabbcc';
const couponId = '019ac8f0-3e4f-7051-8263-748596a7b8c9';
const notificationId = '019ac8f0-4f50-7162-8374-8596a7b8c9da';
const deadEvent = '019ac8f1-5a6b-7c7d-8e8f-90a1b2c3d4e5';
const userId = 'ann';
const currency = 'GBP';

interface Example<T extends EventType> {
  readonly service: ServiceName;
  readonly subject: string;
  readonly time: string;
  readonly data: EventData<T>;
}

const examples: { readonly [T in EventType]: Example<T> } = {
  'order.placed': {
    service: 'order',
    subject: lampOrder,
    time: '2026-11-27T20:00:03.120Z',
    data: { orderId: lampOrder, userId, currency, total: 5_900, itemCount: 1, ticketId: lampTicket },
  },
  'order.awaiting-payment': {
    service: 'order',
    subject: lampOrder,
    time: '2026-11-27T20:00:01.050Z',
    data: {
      orderId: lampOrder,
      userId,
      ticketId: lampTicket,
      currency,
      total: 5_900,
      expiresAt: '2026-11-27T20:01:01.050Z',
    },
  },
  'order.cancelled': {
    service: 'order',
    subject: mugOrder,
    time: '2026-11-27T20:05:00.000Z',
    data: {
      orderId: mugOrder,
      userId,
      ticketId: mugTicket,
      reason: 'changed my mind',
      placed: { currency, total: 5_997, itemCount: 1 },
    },
  },
  'points.awarded': {
    service: 'points',
    subject: lampOrder,
    time: '2026-11-27T20:00:03.140Z',
    data: { orderId: lampOrder, userId, points: 59 },
  },
  'points.revoked': {
    service: 'points',
    subject: mugOrder,
    time: '2026-11-27T20:05:00.020Z',
    data: { orderId: mugOrder, userId, points: 59 },
  },
  'coupon.issued': {
    service: 'coupon',
    subject: lampOrder,
    time: '2026-11-27T20:00:03.150Z',
    data: {
      orderId: lampOrder,
      userId,
      couponId,
      amount: 295,
      currency,
      expiresAt: '2026-12-27T20:00:03.150Z',
    },
  },
  'coupon.skipped': {
    service: 'coupon',
    subject: penOrder,
    time: '2026-11-27T20:04:00.030Z',
    data: { orderId: penOrder, userId, reason: 'total below 50.00 GBP' },
  },
  'coupon.revoked': {
    service: 'coupon',
    subject: mugOrder,
    time: '2026-11-27T20:05:00.025Z',
    data: { orderId: mugOrder, userId, couponId },
  },
  'notification.sent': {
    service: 'notify',
    subject: lampOrder,
    time: '2026-11-27T20:00:03.160Z',
    data: { orderId: lampOrder, userId, notificationId, kind: 'order.placed' },
  },
  'step.failed': {
    service: 'points',
    subject: penOrder,
    time: '2026-11-27T20:06:00.000Z',
    data: {
      orderId: penOrder,
      step: 'points',
      eventId: deadEvent,
      of: 'order.placed',
      error: 'the message was not handled',
    },
  },
  'flash-sale.ticket.accepted': {
    service: 'flash-sale',
    subject: lampTicket,
    time: '2026-11-27T20:00:01.000Z',
    data: {
      ticketId: lampTicket,
      saleId: sale,
      userId,
      currency,
      item: { sku: 'LAMP', name: 'A lamp', unitPrice: 5_900 },
      holdSeconds: 60,
    },
  },
  'flash-sale.ticket.closed': {
    service: 'flash-sale',
    subject: mugTicket,
    time: '2026-11-27T20:05:00.040Z',
    data: {
      ticketId: mugTicket,
      saleId: sale,
      userId,
      outcome: 'released',
      orderId: mugOrder,
      reason: 'changed my mind',
    },
  },
};

const exampleOf = <T extends EventType>(type: T, index: number) => {
  const { service, subject, time, data } = examples[type];
  return {
    specversion: '1.0',
    id: `019ac8f2-0000-7000-8000-0000000000${String(index).padStart(2, '0')}`,
    source: `/services/${service}`,
    type,
    subject,
    time,
    datacontenttype: 'application/json',
    data,
  };
};

export const eventExamples = Object.fromEntries(
  eventTypes.map((type, index) => [type, exampleOf(type, index)]),
) as unknown as { readonly [T in EventType]: Event<T> };

/** What the user's MQTT topic receives. */
export const notificationExample = {
  id: notificationId,
  orderId: lampOrder,
  kind: 'order.placed',
  text: 'Thank you: your order of 1 item for 59.00 GBP is placed.',
  at: '2026-11-27T20:00:03.160Z',
} as const;
