// The services and their subscriptions. They are static because publishers also declare every consumer's queue, so that
// no event is published before its queues exist.
import type { Event, EventType } from './events.ts';

export const subscriptions = {
  order: [
    'points.awarded',
    'points.revoked',
    'coupon.issued',
    'coupon.skipped',
    'coupon.revoked',
    'notification.sent',
    'step.failed',
    'flash-sale.ticket.accepted',
    'flash-sale.ticket.closed',
  ],
  points: ['order.placed', 'order.cancelled'],
  coupon: ['order.placed', 'order.cancelled'],
  notify: ['order.placed', 'order.cancelled'],
  'flash-sale': ['order.placed', 'order.cancelled', 'order.awaiting-payment'],
} as const satisfies Record<string, readonly EventType[]>;

/** The events that each service publishes. */
export const emissions = {
  order: ['order.placed', 'order.awaiting-payment', 'order.cancelled'],
  points: ['points.awarded', 'points.revoked', 'step.failed'],
  coupon: ['coupon.issued', 'coupon.skipped', 'coupon.revoked', 'step.failed'],
  notify: ['notification.sent', 'step.failed'],
  'flash-sale': ['flash-sale.ticket.accepted', 'flash-sale.ticket.closed'],
} as const satisfies Record<keyof typeof subscriptions, readonly EventType[]>;

/** The orders that were placed for a ticket. The flash-sale service receives only these, not those without a ticket. */
const TICKET_ORDERS = 'order.placed.ticket';

/** The routing key of an event on RabbitMQ. */
export const routingKeyOf = (event: Event): string =>
  event.type === 'order.placed' && event.data.ticketId !== undefined ? TICKET_ORDERS : event.type;

/** The routing keys of the services that receive only some events of a type. */
export const narrowed = { 'flash-sale': { 'order.placed': TICKET_ORDERS } } as const;

export type ServiceName = keyof typeof subscriptions;
export const serviceNames = Object.keys(subscriptions) as ServiceName[];
export type Subscribed<S extends ServiceName> = (typeof subscriptions)[S][number];

/**
 * The field of a log line that holds a message's subject. It is called `orderId`, although the subject of a
 * flash-sale.ticket event is a ticket's id.
 */
export const SUBJECT_NAME = 'orderId';
