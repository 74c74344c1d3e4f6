// The events that services exchange: CloudEvents 1.0, structured JSON. Publishing and receiving both parse with these
// schemas; the type is read from the body, never from a topic or routing key. Events carry totals, counts and ids,
// never an order's items, so that they stay below infra/bus's MAX_EVENT_BYTES.
import { z } from 'zod';
import { MAX_HOLD_SECONDS } from './flash-sales.ts';
import { currency } from './money.ts';
import { count as amount, instant, text, userId, uuid } from './text.ts';
import { notificationKinds } from './users.ts';

const orderId = uuid.meta({ description: 'The id of the order.' });
const ticketId = uuid.meta({ description: 'The id of a flash-sale ticket.' });
const saleId = uuid.meta({ description: 'The id of the flash sale.' });
const minorUnits = (what: string) =>
  amount.meta({ description: `${what}, in minor units of the currency: 1999 is 19.99 GBP.` });

const confirmed = {
  currency,
  total: minorUnits('The total of the order'),
  itemCount: z.int().min(1).meta({ description: 'How many items the order lists; their quantities do not count.' }),
};

/**
 * The data of each event type, with its description, which /asyncapi.json contains. To add an event, add it here and an
 * example to event-examples.ts; the envelopes and types below are derived.
 */
const eventData = {
  'order.placed': z
    .object({
      orderId,
      userId,
      ...confirmed,
      ticketId: ticketId.optional().meta({ description: 'The flash-sale ticket that the order was placed for.' }),
    })
    .meta({ description: 'The order is confirmed: it needed no payment, or it is paid.' }),
  'order.awaiting-payment': z
    .object({
      orderId,
      userId,
      ticketId,
      currency,
      total: confirmed.total,
      expiresAt: instant.meta({ description: 'When the order is cancelled if it has not been paid.' }),
    })
    .meta({ description: 'The unit of a ticket is held until its order is paid or `expiresAt` has passed.' }),
  'order.cancelled': z
    .object({
      orderId,
      userId,
      ticketId: ticketId.optional(),
      reason: text(0, 200).optional().meta({ description: 'The reason of the client, or `not paid in time`.' }),
      placed: z
        .object(confirmed)
        .optional()
        .meta({ description: 'The data of order.placed, if the order was confirmed.' }),
    })
    .meta({
      description:
        'The order is cancelled, by request or because it was not paid in time. A service that receives the ' +
        'cancellation first writes the effect together with its reversal, so both orders of arrival lead to the same ' +
        'result.',
    }),
  'points.awarded': z
    .object({ orderId, userId, points: amount.meta({ description: 'How many points the order earned; may be 0.' }) })
    .meta({ description: 'The points of an order are in the ledger of its user.' }),
  'points.revoked': z
    .object({ orderId, userId, points: amount.meta({ description: 'How many points were taken back; may be 0.' }) })
    .meta({ description: 'The points of a cancelled order were taken back.' }),
  'coupon.issued': z
    .object({
      orderId,
      userId,
      couponId: uuid.meta({ description: 'The id of the coupon.' }),
      amount: minorUnits('The value of the coupon'),
      currency,
      expiresAt: instant.meta({ description: 'Until when the coupon is valid.' }),
    })
    .meta({ description: 'The user has a coupon for the order.' }),
  'coupon.skipped': z
    .object({ orderId, userId, reason: text(1, 200).meta({ description: 'Why the order earned no coupon.' }) })
    .meta({ description: 'The order earned no coupon.' }),
  'coupon.revoked': z
    .object({
      orderId,
      userId,
      couponId: uuid.optional().meta({ description: 'The id of the coupon; absent if the order had none.' }),
    })
    .meta({ description: 'The coupon decision about a cancelled order is revoked, and its coupon with it.' }),
  'notification.sent': z
    .object({
      orderId,
      userId,
      notificationId: uuid.meta({ description: 'The id of the stored notification.' }),
      kind: z.enum(notificationKinds).meta({ description: 'The event that the user was notified of.' }),
    })
    .meta({ description: 'A notification for the user is stored and on its way.' }),
  // 0.1.0 did not send `of`, and sent the full error in `error`, so `error` must not reach clients.
  'step.failed': z
    .object({
      orderId,
      step: z.enum(['points', 'coupon', 'notification']),
      eventId: uuid.meta({ description: 'The id of the dead message.' }),
      of: z.string().max(1000).optional().meta({ description: 'The type of the dead message, if it could be read.' }),
      error: z.string().max(1000).meta({
        description: "The kind of failure. The full error stays in the service's inbox, for operators.",
      }),
    })
    .meta({ description: 'A message about the order is dead in the service of a step: an operator can retry it.' }),
  'flash-sale.ticket.accepted': z
    .object({
      ticketId,
      saleId,
      userId,
      currency,
      item: z.object({ sku: text(1, 64), name: text(1, 200), unitPrice: minorUnits('The price of one unit') }),
      holdSeconds: z.int().min(0).max(MAX_HOLD_SECONDS).default(0).meta({
        description: 'How long the unit is held for payment; 0: the order needs no payment.',
      }),
    })
    .meta({ description: 'The ticket has left the queue, so its order may be placed, once.' }),
  // Only `released` is published. The other outcomes have no consumer, so a loss could not be repaired; 0.1.0 published
  // them, so they stay readable.
  'flash-sale.ticket.closed': z
    .object({
      ticketId,
      saleId,
      userId,
      outcome: z.enum(['ordered', 'released', 'failed']).meta({ description: 'Always `released`, except from 0.1.0.' }),
      orderId: orderId.optional(),
      reason: text(0, 1000).optional().meta({ description: 'Why the order was cancelled.' }),
    })
    .meta({ description: "The reply to order.cancelled of a ticket's order: its unit was returned to the stock." }),
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
  z
    .object({
      specversion: z.literal('1.0'),
      id: uuid.meta({ description: 'The same in each delivery of the event; also if its request is resent.' }),
      source: z
        .string()
        .regex(/^\/services\/[a-z-]+$/)
        .meta({ description: 'The service that caused the event, such as `/services/order`.' }),
      type: z.literal(type),
      subject: uuid.meta({ description: "The order's or ticket's id." }),
      time: instant.meta({ description: 'When the event happened, by the clock of the database.' }),
      datacontenttype: z.literal('application/json'),
      data: eventData[type],
    })
    .meta({ description: eventData[type].description ?? '' });

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
