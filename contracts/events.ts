// The events that services exchange: CloudEvents 1.0, structured JSON. Publishing and receiving both parse with these
// schemas; the type is read from the body, never from a topic or routing key. Events carry totals, counts and ids,
// never an order's items, so that they stay below infra/bus's MAX_EVENT_BYTES.
import { z } from 'zod';
import { MAX_HOLD_SECONDS } from './flash-sales.ts';
import { currency } from './money.ts';
import { count as amount, instant, text, userId, uuid } from './text.ts';
import { notificationKinds } from './users.ts';

const orderId = uuid;
const ticketId = uuid;

/** The data of each event type. To add an event, add it here; the envelopes and types below are derived. */
const eventData = {
  /** The order is confirmed. `ticketId`: the flash-sale ticket that it was placed for. */
  'order.placed': z.object({
    orderId,
    userId,
    currency,
    total: amount,
    itemCount: z.int().min(1),
    ticketId: ticketId.optional(),
  }),
  /** The unit is held until the order is paid or `expiresAt` has passed. */
  'order.awaiting-payment': z.object({ orderId, userId, ticketId, currency, total: amount, expiresAt: instant }),
  /**
   * `placed`: the data of order.placed, if the order was confirmed. A service that receives the cancellation first
   * writes the effect together with its reversal, so both orders of arrival lead to the same result.
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
  /** Without `couponId`, the order had no coupon. */
  'coupon.revoked': z.object({ orderId, userId, couponId: uuid.optional() }),
  'notification.sent': z.object({ orderId, userId, notificationId: uuid, kind: z.enum(notificationKinds) }),
  /**
   * A message about this order is dead. `of` is the type of that message; 0.1.0 did not send it. `error` is the kind of
   * failure; the full error stays in the service's inbox, for operators. 0.1.0 sent the full error here, so this field
   * must not reach clients.
   */
  'step.failed': z.object({
    orderId,
    step: z.enum(['points', 'coupon', 'notification']),
    eventId: uuid,
    of: z.string().max(1000).optional(),
    error: z.string().max(1000),
  }),
  /** The ticket has left the queue, so its order may be placed, once. */
  'flash-sale.ticket.accepted': z.object({
    ticketId,
    saleId: uuid,
    userId,
    currency,
    item: z.object({ sku: text(1, 64), name: text(1, 200), unitPrice: amount }),
    /** How long the unit is held for payment; 0: the order needs no payment. */
    holdSeconds: z.int().min(0).max(MAX_HOLD_SECONDS).default(0),
  }),
  /**
   * The reply to order.cancelled of a ticket's order: its unit was returned to the stock. Only `released` is published.
   * The other outcomes have no consumer, so a loss could not be repaired; 0.1.0 published them, so they stay readable.
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
/** The replies of an order's steps. */
export type StepResult = Extract<
  EventType,
  `points.${string}` | `coupon.${string}` | `notification.${string}` | 'step.failed'
>;
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

/** An event on the bus. `type` discriminates the union; `subject` is the order's or ticket's id. */
export type Event<T extends EventType = EventType> = { [K in T]: z.infer<(typeof eventSchemas)[K]> }[T];

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
