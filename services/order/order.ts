// An order, and the decisions about it. Pure: callers pass ids and times.
import { createHash } from 'node:crypto';
import type { Event, EventData, StepResult } from '../../contracts/events.ts';
import { formatMoney } from '../../contracts/money.ts';
import { type Order, type PlaceOrderRequest, type Step, type StepName, totalOf } from '../../contracts/orders.ts';
import { groupBy } from '../../infra/runtime/collections.ts';

interface Ids {
  readonly id: string;
  readonly placedEventId: string;
}

export type NewOrder = ReturnType<typeof newOrder>;

export function newOrder(request: PlaceOrderRequest, key: string | undefined, ids: Ids) {
  return {
    ...request,
    ...ids,
    total: totalOf(request.items),
    idempotencyKey: key,
    requestHash: key === undefined ? undefined : fingerprint(request),
  };
}

export type NewTicketOrder = ReturnType<typeof newTicketOrder>;

/** An order of one unit for a flash sale's ticket. `holdSeconds`: the time to pay; 0 confirms the order at once. */
export function newTicketOrder(
  { ticketId, userId, currency, item, holdSeconds }: EventData<'flash-sale.ticket.accepted'>,
  ids: Ids & { readonly awaitingEventId: string },
) {
  const items = [{ ...item, quantity: 1 }];
  const awaitingEventId = holdSeconds > 0 ? ids.awaitingEventId : null;
  return { ...ids, ticketId, userId, currency, items, total: totalOf(items), holdSeconds, awaitingEventId };
}

/** A hash of a request. Equal requests have equal fingerprints, regardless of white space and the order of keys. */
export function fingerprint({ userId, currency, items }: PlaceOrderRequest): string {
  const canonical = [
    userId,
    currency,
    items.map(({ sku, name, quantity, unitPrice }) => [sku, name ?? null, quantity, unitPrice]),
  ];
  return createHash('sha256').update(JSON.stringify(canonical)).digest('base64');
}

const pending: Step = { status: 'pending' };

/** The response to placing an order. */
export function placedOrder({ id, userId, currency, total, items }: NewOrder, createdAt: Date): Order {
  const steps = { points: pending, coupon: pending, notification: pending };
  return { id, userId, status: 'placed', currency, total, items, createdAt: createdAt.toISOString(), steps };
}

/** When the reversal of a step failed, by step. */
export type FailedReversals = { readonly [S in StepName]?: string };

export type StepReport = ReturnType<typeof stepReport>;

/**
 * The state of an order's step, as a result reports it. `reversalFailed`: the step of a cancelled order was not
 * reverted.
 */
export function stepReport(result: Event<StepResult>) {
  const [name, step] = stepOf(result);
  const reversalFailed = result.type === 'step.failed' && result.data.of === 'order.cancelled';
  return { orderId: result.data.orderId, name, step, reversalFailed };
}

/** One row for each order, sorted by order: of each step the furthest report, and when its reversal failed. */
export function mergeReports(reports: readonly StepReport[]) {
  const rows = [...groupBy(reports, ({ orderId }) => orderId)].map(([orderId, its]) => {
    const steps: { [S in StepName]?: Step } = {};
    const failedReversals: { [S in StepName]?: string | undefined } = {};
    for (const { name, step, reversalFailed } of its) {
      const known = steps[name];
      if (!known || isFurther(step, known)) steps[name] = step;
      if (reversalFailed) failedReversals[name] = step.at;
    }
    return { orderId, ...steps, failedReversals };
  });
  return rows.sort((a, b) => (a.orderId < b.orderId ? -1 : 1));
}

/** A step only moves up, as in the SQL function step_rank. */
const RANK: Record<Step['status'], number> = { pending: 0, failed: 1, done: 2, skipped: 2, reverted: 3 };

/** Among equals, the earliest counts. */
const isFurther = (step: Step, known: Step): boolean =>
  RANK[step.status] > RANK[known.status] ||
  (RANK[step.status] === RANK[known.status] && (step.at ?? '') < (known.at ?? ''));

function stepOf({ type, time: at, data }: Event<StepResult>): [StepName, Step] {
  switch (type) {
    case 'points.awarded':
      return ['points', { status: 'done', at, detail: `${data.points} points` }];
    case 'points.revoked':
      return ['points', { status: 'reverted', at, detail: `${data.points} points taken back` }];
    case 'coupon.issued':
      return ['coupon', { status: 'done', at, detail: formatMoney(data.amount, data.currency) }];
    case 'coupon.skipped':
      return ['coupon', { status: 'skipped', at, detail: data.reason }];
    case 'coupon.revoked':
      return ['coupon', { status: 'reverted', at, detail: data.couponId ? 'revoked' : 'no coupon' }];
    case 'notification.sent':
      return ['notification', { status: data.kind === 'order.cancelled' ? 'reverted' : 'done', at }];
    case 'step.failed':
      return [data.step, { status: 'failed', at }];
  }
}

/**
 * A step as clients see it. After a failed reversal it is `failed` until it is reverted. The detail of a failed step is
 * a fixed sentence, because 0.1.0 stored the service's internal error there.
 */
export function shownStep(step: Step, reversalFailedAt: string | undefined): Step {
  if (reversalFailedAt !== undefined && step.status !== 'reverted')
    return { status: 'failed', at: reversalFailedAt, detail: 'the reversal failed; an operator can retry it' };
  // The status comes first for readers: jsonb does not keep the order of keys.
  const { status, ...rest } = step;
  if (status === 'failed') return { status, ...rest, detail: 'the step failed; an operator can retry it' };
  return { status, ...rest };
}

export const shownSteps = (steps: Order['steps'], failedReversals: FailedReversals): Order['steps'] => ({
  points: shownStep(steps.points, failedReversals.points),
  coupon: shownStep(steps.coupon, failedReversals.coupon),
  notification: shownStep(steps.notification, failedReversals.notification),
});
