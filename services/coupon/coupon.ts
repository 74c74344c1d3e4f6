// order.placed → one decision → coupon.issued or coupon.skipped. order.cancelled → the decision is revoked, and its
// coupon with it → coupon.revoked.
import { v7 as uuidv7 } from 'uuid';
import type { Event, EventData } from '../../contracts/events.ts';
import { formatMoney, minorUnitsPerMajor } from '../../contracts/money.ts';
import { type Outbox, replyWith } from '../../infra/messaging/outbox.ts';
import { insertDecisions, type NewDecision, RESULTS, revokeDecisions } from './store/coupons.ts';

export interface CouponRules {
  /** Of the total. The amount is rounded down. */
  readonly percent: number;
  /** Smallest total, in major units, that earns a coupon. */
  readonly minMajorUnits: number;
  /** Days until a coupon expires. */
  readonly validDays: number;
}

type Placed = EventData<'order.placed'>;

export const decideCoupon = (outbox: Outbox, rules: CouponRules) =>
  replyWith<Event<'order.placed'>>(outbox, RESULTS, (tx, events) =>
    insertDecisions(
      tx,
      events.map(({ data }) => decisionFor(data, rules)),
      rules.validDays,
    ),
  );

/**
 * An order without a decision gets one first, as if it had been placed. So the rows are the same in either order of the
 * two events, and a late order.placed changes nothing.
 */
export const revokeCoupon = (outbox: Outbox, rules: CouponRules) =>
  replyWith<Event<'order.cancelled'>>(outbox, RESULTS, async (tx, events) => {
    const orders = events.map(({ data }) => data);
    const decisions = orders.map(({ placed, ...order }) =>
      placed ? decisionFor({ ...order, ...placed }, rules) : neverConfirmed(order),
    );
    await insertDecisions(tx, decisions, rules.validDays);
    await revokeDecisions(
      tx,
      orders.map(({ orderId }) => ({ orderId, eventId: uuidv7() })),
    );
  });

const decisionFor = (
  { orderId, userId, currency, total }: Pick<Placed, 'orderId' | 'userId' | 'currency' | 'total'>,
  rules: CouponRules,
): NewDecision => ({
  id: uuidv7(),
  eventId: uuidv7(),
  orderId,
  userId,
  currency,
  ...decide({ total, currency }, rules),
});

const neverConfirmed = ({ orderId, userId }: EventData<'order.cancelled'>): NewDecision => ({
  id: uuidv7(),
  eventId: uuidv7(),
  orderId,
  userId,
  currency: null,
  reason: 'cancelled before it was confirmed',
});

/** A coupon for the order, or the reason for none. */
export function decide(
  { total, currency }: Pick<Placed, 'total' | 'currency'>,
  { percent, minMajorUnits }: Omit<CouponRules, 'validDays'>,
): { readonly amount: number } | { readonly reason: string } {
  const least = minMajorUnits * minorUnitsPerMajor(currency);
  if (total < least) return { reason: `total below ${formatMoney(least, currency)}` };
  const amount = Number((BigInt(total) * BigInt(percent)) / 100n);
  return amount > 0 ? { amount } : { reason: `${percent} % of the total is less than the smallest coin` };
}
