// order.placed → one decision → coupon.issued or coupon.skipped.
import { v7 as uuidv7 } from 'uuid';
import type { Event, EventData } from '../../contracts/events.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { type CouponRules, decide } from './coupon.ts';
import { insertDecisions, type NewDecision, RESULTS } from './store/coupons.ts';

export function decideCoupon(outbox: Outbox, rules: CouponRules, validDays: number): Handler<Event<'order.placed'>> {
  return {
    handle: async (tx, events) => {
      const decisions = events.map(({ data }) => decisionFor(data, rules));
      await insertDecisions(tx, decisions, validDays);
      const orderIds = decisions.map(({ orderId }) => orderId);
      await outbox.write(tx, RESULTS, orderIds);
    },
    resendReplies: (tx, orderIds) => outbox.write(tx, RESULTS, orderIds),
  };
}

export const decisionFor = (
  order: Pick<EventData<'order.placed'>, 'orderId' | 'userId' | 'currency' | 'total'>,
  rules: CouponRules,
): NewDecision => ({
  id: uuidv7(),
  eventId: uuidv7(),
  orderId: order.orderId,
  userId: order.userId,
  currency: order.currency,
  ...decide(order, rules),
});
