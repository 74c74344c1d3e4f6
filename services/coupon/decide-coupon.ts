// order.placed → one decision → coupon.issued or coupon.skipped.
import { v7 as uuidv7 } from 'uuid';
import type { Event, EventData } from '../../contracts/events.ts';
import { formatMoney, minorUnitsPerMajor } from '../../contracts/money.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { insertDecisions, type NewDecision, RESULTS } from './store/coupons.ts';

export interface CouponRules {
  /** Of the total. The amount is rounded down. */
  readonly percent: number;
  /** Smallest total, in major units, that earns a coupon. */
  readonly minMajorUnits: number;
}

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

type Decision = { readonly amount: number } | { readonly reason: string };

/** A coupon for the order, or the reason for none. */
export function decide(
  { total, currency }: Pick<EventData<'order.placed'>, 'total' | 'currency'>,
  rules: CouponRules,
): Decision {
  const least = rules.minMajorUnits * minorUnitsPerMajor(currency);
  if (total < least) return { reason: `total below ${formatMoney(least, currency)}` };
  const amount = Number((BigInt(total) * BigInt(rules.percent)) / 100n);
  return amount > 0 ? { amount } : { reason: `${rules.percent} % of the total is less than the smallest coin` };
}
