// Every event that services say to each other: CloudEvents 1.0, structured JSON. Publishing and receiving both parse
// with these schemas; the type is read from the body, never from a topic or routing key. Events carry totals, counts
// and ids, never an order's items, so that they stay below infra/bus's MAX_EVENT_BYTES.
import { z } from 'zod';
import { MAX_HOLD_SECONDS } from './flash-sales.ts';
import { currency } from './money.ts';
import { instant, text, userId, uuid } from './text.ts';
import { notificationKinds } from './users.ts';

const amount = z.int().min(0);
const orderId = uuid;
const ticketId = uuid;

/** The data of each event type. A new type starts here; the envelope and the types below follow from it. */
const eventData = {
  /** The order is confirmed. `ticketId`: it was placed for a flash sale's ticket. */
  'order.placed': z.object({
    orderId,
    userId,
    currency,
    total: amount,
    itemCount: z.int().min(1),
    ticketId: ticketId.optional(),
  }),
  /** Its unit is held until it is paid or `expiresAt` is over. */
  'order.awaiting-payment': z.object({ orderId, userId, ticketId, currency, total: amount, expiresAt: instant }),
  /**
   * `placed`: what order.placed said, for an order that was confirmed. So a service that hears of the cancellation first can
   * write the effect with its reversal, and the end is the same in whatever order the two arrive.
   */
  'order.cancelled': z.object({
    orderId,
    userId,
    ticketId: ticketId.optional(),
    reason: text(0, 200).optional(),
    placed: z.object({ currency, total: amount, itemCount: z.int().min(1) }).optional(),
  }),
  'points.awarded': z.object({ orderId, userId, points: amount }),
  'points.revoked': z.object({ orderId, userId, points: amount }),
  'coupon.issued': z.object({ orderId, userId, couponId: uuid, amount, currency, expiresAt: instant }),
  'coupon.skipped': z.object({ orderId, userId, reason: text(1, 200) }),
  /** `couponId`: there had been one. */
  'coupon.revoked': z.object({ orderId, userId, couponId: uuid.optional() }),
  'notification.sent': z.object({ orderId, userId, notificationId: uuid, kind: z.enum(notificationKinds) }),
  /**
   * A message of this order is dead. `of`: its type, which 0.1.0 did not say. `error`: the kind of failure; the error
   * itself stays in the service's inbox, for operators. 0.1.0 wrote it here, so it must not reach clients.
   */
  'step.failed': z.object({
    orderId,
    step: z.enum(['points', 'coupon', 'notification']),
    eventId: uuid,
    of: z.string().max(1000).optional(),
    error: z.string().max(1000),
  }),
  /** The ticket has left the queue: its order may be placed now, once. */
  'flash-sale.ticket.accepted': z.object({
    ticketId,
    saleId: uuid,
    userId,
    currency,
    item: z.object({ sku: text(1, 64), name: text(1, 200), unitPrice: amount }),
    /** How long the unit is held for payment; 0: none is asked for. */
    holdSeconds: z.int().min(0).max(MAX_HOLD_SECONDS).default(0),
  }),
  /**
   * The reply to order.cancelled of a ticket's order: its unit is back. Only `released` is published. Nobody consumes the
   * other outcomes, so their loss could not be repaired; they stay readable, because 0.1.0 published them.
   */
  'flash-sale.ticket.closed': z.object({
    ticketId,
    saleId: uuid,
    userId,
    outcome: z.enum(['ordered', 'released', 'failed']),
    orderId: orderId.optional(),
    reason: text(0, 1000).optional(),
  }),
} as const;

export type EventType = keyof typeof eventData;
export const eventTypes = Object.keys(eventData) as EventType[];
/** What a step of an order answers. */
export type StepResult =
  | 'points.awarded'
  | 'points.revoked'
  | 'coupon.issued'
  | 'coupon.skipped'
  | 'coupon.revoked'
  | 'notification.sent'
  | 'step.failed';
export const isEventType = (type: string): type is EventType => Object.hasOwn(eventData, type);

const envelopeOf = <T extends EventType>(type: T) =>
  z.object({
    specversion: z.literal('1.0'),
    id: uuid,
    source: z.string().regex(/^\/services\/[a-z-]+$/),
    type: z.literal(type),
    subject: uuid,
    time: instant,
    datacontenttype: z.literal('application/json'),
    data: eventData[type],
  });

export const eventSchemas = Object.fromEntries(eventTypes.map((type) => [type, envelopeOf(type)])) as {
  [T in EventType]: ReturnType<typeof envelopeOf<T>>;
};

export type EventData<T extends EventType = EventType> = z.infer<(typeof eventData)[T]>;

/** An event as it stands on the bus; of several types, told apart by `type`. `subject` is the order's or ticket's id. */
export type Event<T extends EventType = EventType> = {
  [K in T]: {
    specversion: '1.0';
    id: string;
    source: string;
    type: K;
    subject: string;
    time: string;
    datacontenttype: 'application/json';
    data: EventData<K>;
  };
}[T];

/** The data of step.failed for a message that the service of `step` could not handle. */
export const stepFailed =
  (step: EventData<'step.failed'>['step']) =>
  (message: {
    subject: string;
    messageId: string;
    type: string | null;
    failure: string;
  }): EventData<'step.failed'> => ({
    orderId: message.subject,
    step,
    eventId: message.messageId,
    ...(message.type === null ? {} : { of: message.type }),
    error: message.failure,
  });
