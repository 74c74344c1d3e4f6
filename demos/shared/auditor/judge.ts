// Judges an order beside its effects, a flash sale's ticket beside the orders that were placed for it, and a sale's
// totals beside its tickets. Pure functions.
import type { Fact, OrderFact, SaleFact, TicketFact } from '../../../contracts/facts.ts';
import { type StepName, stepNames } from '../../../contracts/orders.ts';
import type { RuleName } from './rules.ts';

/** The facts about one id, of the services that have any. */
type Seen<Facts> = { readonly [Name in keyof Facts]?: Facts[Name] | undefined };

export type OrderFacts = { [List in 'order' | 'points' | 'coupon' | 'notify']: Fact<List> };
export type TicketFacts = { ticket: TicketFact; order: Fact<'order/tickets'> };

/**
 * An open order whose next action is due later than this is stuck: requests are resent at least every hour, and a buyer
 * has a day at most to pay. The rest allows for clocks that differ and for late actions.
 */
export const MAX_DUE_MS = (24 + 2) * 3_600_000;

/** The rules whose condition is true. */
const violated = (...conditions: readonly (readonly [RuleName, boolean])[]): RuleName[] =>
  conditions.flatMap(([rule, isTrue]) => (isTrue ? [rule] : []));

/** The rules that an order violates. An order in progress violates none. */
export function judgeOrder({ order, points, coupon, notify }: Seen<OrderFacts>): RuleName[] {
  if (!order)
    return violated(
      ['points-without-order', points !== undefined],
      ['coupon-without-order', coupon !== undefined],
      ['notification-without-order', notify !== undefined],
    );
  const { state, everConfirmed, steps, open, userId, dueInMs } = order;
  if (state === null) return ['order-without-progress'];
  const cancelled = state === 'cancelled';
  /** A settled step has its effect; before that, the effect may be there or not. */
  const settled = (step: StepName) => (cancelled ? ['reverted'] : ['done', 'skipped']).includes(steps[step]);
  const { awards = 0, revokes = 0, points: balance = 0 } = points ?? {};
  const { active = 0, revoked = 0, skipped = 0 } = coupon ?? {};
  const decisions = active + revoked + skipped;
  const { placed = 0, cancelled: cancellations = 0 } = notify ?? {};
  const missing = (everConfirmed && placed === 0) || (cancelled && cancellations === 0);
  return violated(
    ['points-doubled', awards > 1 || revokes > 1],
    ['effect-too-early', awards > 0 && !everConfirmed],
    ['points-revoked', !cancelled && revokes > 0],
    ['points-missing', settled('points') && everConfirmed && awards === 0],
    ['points-not-revoked', settled('points') && cancelled && revokes === 0],
    ['points-not-zero', settled('points') && cancelled && revokes > 0 && balance !== 0],

    ['coupon-doubled', decisions > 1],
    // If an order was cancelled before it was confirmed, the decision is that there is no coupon.
    ['effect-too-early', !everConfirmed && (active + revoked > 0 || (!cancelled && skipped > 0))],
    ['coupon-revoked', !cancelled && revoked > 0],
    ['coupon-missing', settled('coupon') && decisions === 0],
    ['coupon-active', settled('coupon') && cancelled && active > 0],

    ['notification-doubled', placed > 1 || cancellations > 1],
    ['effect-too-early', placed > 0 && !everConfirmed],
    ['notification-wrong', !cancelled && cancellations > 0],
    ['notification-missing', settled('notification') && missing],

    ['step-wrong', !cancelled && stepNames.some((name) => steps[name] === 'reverted')],
    ['order-unaccounted', open && !isDue(dueInMs)],
    ['effect-other-user', [points, coupon, notify].some((effect) => effect && effect.userId !== userId)],
  );
}

/** Whether the next action is due soon enough. */
const isDue = (dueInMs: number | null) => dueInMs !== null && dueInMs < MAX_DUE_MS;

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

/** The rules that a ticket and the orders that were placed for it violate. */
export function judgeTicket({ ticket, order }: Seen<TicketFacts>): RuleName[] {
  if (!ticket) return violated(['order-without-ticket', order !== undefined]);
  const { status, orderId, userId, dueInMs } = ticket;
  const overdue = waiting(status) && !isDue(dueInMs);
  if (!order) {
    const ordered = status === 'ordered' || orderId !== null;
    return violated(['ticket-without-order', ordered], ['ticket-unaccounted', !ordered && overdue]);
  }
  const { state, orders } = order;
  const cancelled = state === 'cancelled';
  const stockReleased = cancelled && !order.stockReleasePending;
  return violated(
    ['ticket-orders-doubled', orders > 1],
    ['ticket-other-order', orders <= 1 && orderId !== null && orderId !== order.orderId],
    ['ticket-other-user', order.userId !== userId],
    ['ticket-too-early', status === 'queued' || status === 'failed'],
    ['stock-released', status === 'released' && !cancelled],
    ['stock-not-released', stockReleased && (status === 'ordered' || waiting(status))],
    ['ticket-not-confirmed', status === 'ordered' && !cancelled && state !== 'confirmed'],
    ['ticket-unaccounted', !stockReleased && overdue],
  );
}

/** Whether the ticket waits for its order, or for the order's outcome. */
export const waiting = (status: TicketFact['status']) => status === 'accepted' || status === 'awaiting-payment';

/** The rules that a sale violates, each with the sale, the number or user that is wrong, and how often. */
export function judgeSale({ id, stock, remaining, queueCap, row, tickets }: SaleFact) {
  const wrong: [rule: RuleName, what: string, times?: number][] = [];
  if (remaining + row.held + row.sold !== stock)
    wrong.push(['sale-stock', `${id}: ${stock} = ${remaining} + ${row.held} + ${row.sold}`]);
  for (const [name, units] of Object.entries({ remaining, ...row }))
    if (units < 0) wrong.push(['sale-negative', `${id}: ${name} ${units}`]);
  if (row.queued > queueCap) wrong.push(['sale-over-cap', `${id}: ${row.queued} of ${queueCap}`]);
  for (const [name, units] of Object.entries(row) as [keyof typeof row, number][])
    if (units !== tickets[name])
      wrong.push(['sale-totals', `${id}: ${name} ${units}, by its tickets ${tickets[name]}`]);
  if (tickets.lastNumber !== tickets.admitted)
    wrong.push(['sale-totals', `${id}: ${tickets.admitted} tickets, the last one has number ${tickets.lastNumber}`]);
  for (const user of tickets.doubledUsers) wrong.push(['ticket-doubled', `${id}: ${user}`]);
  const unnamed = tickets.doubled - tickets.doubledUsers.length;
  if (unnamed > 0) wrong.push(['ticket-doubled', `${id}: ${unnamed} more users`, unnamed]);
  return wrong;
}
