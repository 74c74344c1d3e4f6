// Judges an order beside its effects. Pure functions.
import type { Fact, OrderFact } from '../../../contracts/facts.ts';
import { type StepName, stepNames } from '../../../contracts/orders.ts';
import type { RuleName } from './rules.ts';

/** The facts about one id, of the services that have any. */
export type Seen<Facts> = { readonly [Name in keyof Facts]?: Facts[Name] | undefined };

export type OrderFacts = { [L in 'order' | 'points' | 'coupon' | 'notify']: Fact<L> };

/**
 * An open order whose next action is due later than this is stuck: requests are resent at least every hour, and a buyer
 * has a day at most to pay. The rest allows for clocks that differ and for late actions.
 */
export const MAX_DUE_MS = (24 + 2) * 3_600_000;

/** The rules with a true condition. */
export const violated = (conditions: Partial<Record<RuleName, boolean>>): RuleName[] =>
  (Object.keys(conditions) as RuleName[]).filter((rule) => conditions[rule]);

/** The rules that an order violates. An order in progress violates none. */
export function judgeOrder({ order, points, coupon, notify }: Seen<OrderFacts>): RuleName[] {
  if (!order)
    return violated({
      'points-without-order': points !== undefined,
      'coupon-without-order': coupon !== undefined,
      'notification-without-order': notify !== undefined,
    });
  if (order.state === null) return ['order-without-progress'];
  const { state, everConfirmed, steps, open, userId, dueInMs } = order;
  const cancelled = state === 'cancelled';
  /** A settled step has its effect; before that, the effect may be there or not. */
  const settled = (step: StepName) => (cancelled ? ['reverted'] : ['done', 'skipped']).includes(steps[step]);
  const { awards = 0, revokes = 0, points: balance = 0 } = points ?? {};
  const { active = 0, revoked = 0, skipped = 0 } = coupon ?? {};
  const decisions = active + revoked + skipped;
  const { placed = 0, cancelled: cancellations = 0 } = notify ?? {};
  return [
    ...violated({
      'points-doubled': awards > 1 || revokes > 1,
      'effect-too-early': awards > 0 && !everConfirmed,
      'points-revoked': !cancelled && revokes > 0,
      'points-missing': settled('points') && everConfirmed && awards === 0,
      'points-not-revoked': settled('points') && cancelled && revokes === 0,
      'points-not-zero': settled('points') && cancelled && revokes > 0 && balance !== 0,
    }),
    ...violated({
      'coupon-doubled': decisions > 1,
      // If an order was cancelled before it was confirmed, the decision is that there is no coupon.
      'effect-too-early': !everConfirmed && (active + revoked > 0 || (!cancelled && skipped > 0)),
      'coupon-revoked': !cancelled && revoked > 0,
      'coupon-missing': settled('coupon') && decisions === 0,
      'coupon-active': settled('coupon') && cancelled && active > 0,
    }),
    ...violated({
      'notification-doubled': placed > 1 || cancellations > 1,
      'effect-too-early': placed > 0 && !everConfirmed,
      'notification-wrong': !cancelled && cancellations > 0,
      'notification-missing':
        settled('notification') && ((everConfirmed && placed === 0) || (cancelled && cancellations === 0)),
    }),
    ...violated({
      'step-wrong': !cancelled && stepNames.some((name) => steps[name] === 'reverted'),
      'order-unaccounted': open && !isDue(dueInMs),
      'effect-other-user': [points, coupon, notify].some((effect) => effect && effect.userId !== userId),
    }),
  ];
}

/** Whether the next action is due soon enough. */
export const isDue = (dueInMs: number | null) => dueInMs !== null && dueInMs < MAX_DUE_MS;

/** The names of what an open order waits for. */
export function waitsFor(order: OrderFact): string[] {
  const { state, steps, stockReleasePending, refundDue } = order;
  if (state === 'awaiting-payment') return ['payment'];
  if (state === 'paying') return [`the payment provider${attempt(order.chargeRetries + 1)}`];
  const end = state === 'cancelled' ? ['reverted'] : ['done', 'skipped'];
  return [
    ...stepNames
      .filter((name) => !end.includes(steps[name]))
      .map((name) => (steps[name] === 'failed' ? `${name} (failed)` : name)),
    ...(stockReleasePending ? ['flash sale'] : []),
    ...(refundDue ? [refund(order)] : []),
  ];
}

const attempt = (number: number) => (number > 1 ? ` (attempt ${number})` : '');

const refund = ({ refundRejected, refundAttempts }: OrderFact) =>
  `the refund${refundRejected ? ` (rejected by the provider, attempt ${refundAttempts})` : attempt(refundAttempts)}`;
