// Who there is, and who listens to what. Static, because publishers declare every consumer's queue as well:
// an event is never published before the queues it belongs in exist.
import type { EventType } from './events.ts';

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

export type ServiceName = keyof typeof subscriptions;
export const serviceNames = Object.keys(subscriptions) as ServiceName[];
export type Subscribed<S extends ServiceName> = (typeof subscriptions)[S][number];

/** What log lines call a message's subject. */
export const SUBJECT_NAME = 'orderId';
