// Judges an order beside its effects. Pure functions.
import type { CouponFact, NotifyFact, OrderFact, PointsFact } from '../../../contracts/facts.ts';
import { type StepName, stepNames } from '../../../contracts/orders.ts';
import type { RuleName } from './rules.ts';

/** The facts about one id, of the services that have any. */
export type Seen<Facts> = { readonly [Name in keyof Facts]?: Facts[Name] | undefined };

export type OrderFacts = { order: OrderFact; points: PointsFact; coupon: CouponFact; notify: NotifyFact };

/**
 * An open order whose next action is due later than this is stuck: requests are resent at least every hour, and a buyer
 * has a day at most to pay. The rest allows for clocks that differ and for late actions.
 */
export const MAX_DUE_MS = (24 + 2) * 3_600_000;

/** The rules that an order violates. An order in progress violates none. */
export function judgeOrder({ order, points, coupon, notify }: Seen<OrderFacts>): RuleName[] {
  if (!order) {
    const orphans: RuleName[] = [];
    if (points) orphans.push('points-without-order');
    if (coupon) orphans.push('coupon-without-order');
    if (notify) orphans.push('notification-without-order');
    return orphans;
  }
  if (order.state === null) return ['order-without-progress'];
  const wrong = [
    ...judgePoints(order, points),
    ...judgeCoupon(order, coupon),
    ...judgeNotifications(order, notify),
    ...judgeProgress(order),
  ];
  if ([points, coupon, notify].some((effect) => effect && effect.userId !== order.userId))
    wrong.push('effect-other-user');
  return wrong;
}

/** A settled step has its effect; before that, the effect may be there or not. */
const settled = (order: OrderFact, step: StepName) =>
  order.state === 'cancelled'
    ? order.steps[step] === 'reverted'
    : order.steps[step] === 'done' || order.steps[step] === 'skipped';

function judgePoints(order: OrderFact, fact: PointsFact | undefined): RuleName[] {
  const { awards = 0, revokes = 0, points = 0 } = fact ?? {};
  const wrong: RuleName[] = [];
  if (awards > 1 || revokes > 1) wrong.push('points-doubled');
  if (awards > 0 && !order.everFirm) wrong.push('effect-too-early');
  if (order.state !== 'cancelled' && revokes > 0) wrong.push('points-revoked');
  if (!settled(order, 'points')) return wrong;
  if (order.everFirm && awards === 0) wrong.push('points-missing');
  if (order.state === 'cancelled') {
    if (revokes === 0) wrong.push('points-not-revoked');
    else if (points !== 0) wrong.push('points-not-zero');
  }
  return wrong;
}

function judgeCoupon(order: OrderFact, fact: CouponFact | undefined): RuleName[] {
  const { active = 0, revoked = 0, skipped = 0 } = fact ?? {};
  const wrong: RuleName[] = [];
  if (active + revoked + skipped > 1) wrong.push('coupon-doubled');
  // If an order was cancelled before it was firm, the decision is that there is no coupon.
  if ((order.state !== 'cancelled' && !order.everFirm && skipped > 0) || (!order.everFirm && active + revoked > 0))
    wrong.push('effect-too-early');
  if (order.state !== 'cancelled' && revoked > 0) wrong.push('coupon-revoked');
  if (!settled(order, 'coupon')) return wrong;
  if (active + revoked + skipped === 0) wrong.push('coupon-missing');
  if (order.state === 'cancelled' && active > 0) wrong.push('coupon-active');
  return wrong;
}

function judgeNotifications(order: OrderFact, fact: NotifyFact | undefined): RuleName[] {
  const { placed = 0, cancelled = 0 } = fact ?? {};
  const wrong: RuleName[] = [];
  if (placed > 1 || cancelled > 1) wrong.push('notification-doubled');
  if (placed > 0 && !order.everFirm) wrong.push('effect-too-early');
  if (order.state !== 'cancelled' && cancelled > 0) wrong.push('notification-wrong');
  if (!settled(order, 'notification')) return wrong;
  if ((order.everFirm && placed === 0) || (order.state === 'cancelled' && cancelled === 0))
    wrong.push('notification-missing');
  return wrong;
}

function judgeProgress(order: OrderFact): RuleName[] {
  const wrong: RuleName[] = [];
  if (order.state !== 'cancelled' && stepNames.some((name) => order.steps[name] === 'reverted'))
    wrong.push('step-wrong');
  if (order.open && !isDue(order.dueInMs)) wrong.push('order-unaccounted');
  return wrong;
}

/** Whether the next action is due soon enough. */
export const isDue = (dueInMs: number | null) => dueInMs !== null && dueInMs < MAX_DUE_MS;

/** The names of what an open order waits for. */
export function waitsFor(order: OrderFact): string[] {
  const { state, steps, unitToReturn, toGiveBack } = order;
  if (state === 'awaiting-payment') return ['payment'];
  if (state === 'paying') return [`the payment provider${attempt(order.chargeRetries + 1)}`];
  const end = state === 'cancelled' ? ['reverted'] : ['done', 'skipped'];
  return [
    ...stepNames
      .filter((name) => !end.includes(steps[name]))
      .map((name) => (steps[name] === 'failed' ? `${name} (failed)` : name)),
    ...(unitToReturn ? ['flash sale'] : []),
    ...(toGiveBack ? [refund(order)] : []),
  ];
}

const attempt = (number: number) => (number > 1 ? ` (attempt ${number})` : '');

const refund = ({ refundRejected, refundAttempts }: OrderFact) =>
  `the payment to be given back${refundRejected ? ` (rejected by the provider, attempt ${refundAttempts})` : attempt(refundAttempts)}`;
