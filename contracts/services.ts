// Who there is, and who listens to what. Static, because publishers declare every consumer's queue as well:
// an event is never published before the queues it belongs in exist.
import type { EventType } from './events.ts';

export const subscriptions = {
  order: [
    'points.awarded',
    'coupon.issued',
    'coupon.skipped',
    'notification.sent',
    'step.failed',
    'flash-sale.ticket.accepted',
  ],
  points: ['order.placed'],
  coupon: ['order.placed'],
  notify: ['order.placed'],
  'flash-sale': ['order.placed', 'order.cancelled'],
} as const satisfies Record<string, readonly EventType[]>;

/** Events that no service needs: published for whoever binds a queue or subscribes from outside. */
export const forOutsiders = ['flash-sale.ticket.closed'] as const satisfies readonly EventType[];

export type ServiceName = keyof typeof subscriptions;
export const serviceNames = Object.keys(subscriptions) as ServiceName[];
export type Subscribed<S extends ServiceName> = (typeof subscriptions)[S][number];
