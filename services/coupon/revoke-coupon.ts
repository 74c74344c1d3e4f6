// order.cancelled → the decision is revoked, and its coupon with it → coupon.revoked. An order that has no decision yet
// gets it first, as if it had been placed: the end is the same in whatever order the two events arrive, and a late
// order.placed changes nothing.
import { v7 as uuidv7 } from 'uuid';
import type { Event, EventData } from '../../contracts/events.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import type { CouponRules } from './coupon.ts';
import { decisionFor } from './decide-coupon.ts';
import { insertDecisions, type NewDecision, RESULTS, revokeDecisions } from './store/coupons.ts';

export function revokeCoupon(outbox: Outbox, rules: CouponRules, validDays: number): Handler<Event<'order.cancelled'>> {
  return {
    handle: async (tx, events) => {
      await insertDecisions(
        tx,
        events.map(({ data }) => (data.placed ? decisionFor({ ...data, ...data.placed }, rules) : neverFirm(data))),
        validDays,
      );
      await revokeDecisions(
        tx,
        events.map(({ data }) => ({ orderId: data.orderId, eventId: uuidv7() })),
      );
      const orderIds = events.map(({ data }) => data.orderId);
      await outbox.write(tx, RESULTS, orderIds);
    },
    resendReplies: (tx, orderIds) => outbox.write(tx, RESULTS, orderIds),
  };
}

const neverFirm = ({ orderId, userId }: EventData<'order.cancelled'>): NewDecision => ({
  id: uuidv7(),
  eventId: uuidv7(),
  orderId,
  userId,
  currency: null,
  reason: 'cancelled before it was firm',
});
