import { v7 as uuidv7 } from 'uuid';
import type { Handler } from '../../infra/messaging/handler.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { type CouponRules, decide } from './coupon.ts';
import { DECIDED, insertDecisions } from './store.ts';

/** order.placed → one decision → coupon.issued or coupon.skipped. */
export function decideCoupon(outbox: Outbox, rules: CouponRules, validDays: number): Handler<'order.placed'> {
  return {
    handle: async (tx, events) => {
      const decisions = events.map(({ data }) => ({
        id: uuidv7(),
        eventId: uuidv7(),
        orderId: data.orderId,
        userId: data.userId,
        currency: data.currency,
        ...decide(data, rules),
      }));
      await insertDecisions(tx, decisions, validDays);
      const orderIds = decisions.map(({ orderId }) => orderId);
      await outbox.write(tx, 'bus', DECIDED, [orderIds]);
    },
    repeat: (tx, orderIds) => outbox.write(tx, 'bus', DECIDED, [orderIds]),
  };
}
