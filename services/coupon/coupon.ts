// order.placed → one decision → coupon.issued or coupon.skipped. order.cancelled → the decision is revoked, and its
// coupon with it → coupon.revoked.
import { v7 as uuidv7 } from 'uuid';
import type { Event, EventData } from '../../contracts/events.ts';
import { formatMoney, minorUnitsPerMajor } from '../../contracts/money.ts';
import { type Outbox, replyWith } from '../../infra/messaging/outbox.ts';
import type { CouponSettings } from './settings.ts';
import { insertDecisions, type NewDecision, RESULTS, revokeDecisions } from './store/coupons.ts';

type Placed = EventData<'order.placed'>;

export const decideCoupon = (outbox: Outbox, settings: CouponSettings) =>
  replyWith<Event<'order.placed'>>(outbox, RESULTS, (tx, events) =>
    insertDecisions(
      tx,
      events.map(({ data }) => decisionFor(data, settings)),
      settings.COUPON_VALID_DAYS,
    ),
  );

/**
 * An order without a decision gets one first: as if it had been placed or, if it was never confirmed, the decision that
 * there is no coupon. So the rows are the same whichever of the two events arrives first, and a late order.placed
 * changes nothing.
 */
export const revokeCoupon = (outbox: Outbox, settings: CouponSettings) =>
  replyWith<Event<'order.cancelled'>>(outbox, RESULTS, async (tx, events) => {
    const orders = events.map(({ data }) => data);
    const decisions = orders.map(({ placed, ...order }) =>
      placed ? decisionFor({ ...order, ...placed }, settings) : neverConfirmed(order),
    );
    await insertDecisions(tx, decisions, settings.COUPON_VALID_DAYS);
    await revokeDecisions(
      tx,
      orders.map(({ orderId }) => ({ orderId, eventId: uuidv7() })),
    );
  });

type Ordered = Pick<Placed, 'orderId' | 'userId'>;

const idsFor = ({ orderId, userId }: Ordered) => ({ id: uuidv7(), eventId: uuidv7(), orderId, userId });

const decisionFor = (order: Ordered & Pick<Placed, 'currency' | 'total'>, settings: CouponSettings): NewDecision => ({
  ...idsFor(order),
  currency: order.currency,
  ...decide(order, settings),
});

const neverConfirmed = (order: Ordered): NewDecision => ({
  ...idsFor(order),
  currency: null,
  reason: 'cancelled before it was confirmed',
});

/** A coupon for the order, or the reason for none. */
export function decide(
  { total, currency }: Pick<Placed, 'total' | 'currency'>,
  settings: Pick<CouponSettings, 'COUPON_PERCENT' | 'COUPON_MIN_MAJOR_UNITS'>,
): { readonly amount: number } | { readonly reason: string } {
  const { COUPON_PERCENT: percent, COUPON_MIN_MAJOR_UNITS: minMajorUnits } = settings;
  const least = minMajorUnits * minorUnitsPerMajor(currency);
  if (total < least) return { reason: `total below ${formatMoney(least, currency)}` };
  const amount = Number((BigInt(total) * BigInt(percent)) / 100n);
  return amount > 0 ? { amount } : { reason: `${percent} % of the total is less than the smallest coin` };
}
