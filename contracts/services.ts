// Who there is, and who listens to what. Static, because publishers declare every consumer's queue as well:
// an event is never published before the queues it belongs in exist.
import type { EventType } from './events.ts';

export const subscriptions = {
  order: ['points.awarded', 'coupon.issued', 'coupon.skipped', 'notification.sent', 'step.failed'],
  points: ['order.placed'],
  coupon: ['order.placed'],
  notify: ['order.placed'],
} as const satisfies Record<string, readonly EventType[]>;

export type ServiceName = keyof typeof subscriptions;
export const serviceNames = Object.keys(subscriptions) as ServiceName[];
export type Subscribed<S extends ServiceName> = (typeof subscriptions)[S][number];
