// The order service's facts for the audit.
import type { OrderFact, TicketOrderFact } from '../../../contracts/facts.ts';
import { type Order, stepNames } from '../../../contracts/orders.ts';
import { msBetween } from '../../../infra/database/sql.ts';
import { type FactSource, factsFrom } from '../../../infra/runtime/service.ts';
import { type FailedReversals, shownSteps } from '../order.ts';
import { SCHEMA } from './orders.ts';

type OrderRow = Omit<OrderFact, 'steps'> & Pick<Order, 'steps'> & { readonly failedReversals: FailedReversals };

const PENDING = `'{"status": "pending"}'`;

const rows = factsFrom<OrderRow>(
  'id',
  (where, limit) => `SELECT o.id, o.user_id AS "userId", o.ticket_id AS "ticketId", p.state,
    coalesce(p.ever_confirmed, false) AS "everConfirmed",
    coalesce(p.status NOT IN ('completed', 'cancelled') OR p.refund_at IS NOT NULL, true) AS open,
    coalesce(p.stock_release_pending, false) AS "stockReleasePending", p.refund_at IS NOT NULL AS "refundDue",
    coalesce(p.charge_retries, 0) AS "chargeRetries", coalesce(p.refund_attempts, 0) AS "refundAttempts",
    coalesce(p.refund_rejected, false) AS "refundRejected",
    json_build_object(${stepNames.map((name) => `'${name}', coalesce(p.${name}, ${PENDING})`).join(', ')}) AS steps,
    coalesce(p.failed_reversals, '{}') AS "failedReversals",
    ${msBetween('greatest(o.created_at, p.paid_at, p.cancelled_at)', 'now()')} AS "sinceMs",
    CASE p.status WHEN 'completed' THEN NULL WHEN 'cancelled' THEN ${msBetween('now()', 'p.refund_at')}
      WHEN 'awaiting-payment' THEN CASE p.state WHEN 'paying' THEN ${msBetween('now()', 'p.charge_again_at')}
        ELSE ${msBetween('now()', 'p.expires_at')} END
      ELSE ${msBetween('now()', 'p.resend_at')} END AS "dueInMs"
  FROM (SELECT * FROM ${SCHEMA}.orders WHERE ${where} ORDER BY id ${limit}) AS o
  LEFT JOIN ${SCHEMA}.progress p ON p.order_id = o.id ORDER BY o.id`,
);

const factOf = ({ steps, failedReversals, ...row }: OrderRow): OrderFact => {
  const { points, coupon, notification } = shownSteps(steps, failedReversals);
  return { ...row, steps: { points: points.status, coupon: coupon.status, notification: notification.status } };
};

export const orderFacts: FactSource<OrderFact> = {
  after: async (...page) => (await rows.after(...page)).map(factOf),
  of: async (...ids) => (await rows.of(...ids)).map(factOf),
};

/** The number of orders of each ticket, and the facts of the first. A second one exists only without the unique key. */
export const ticketOrderFacts = factsFrom<TicketOrderFact>(
  'ticket_id',
  (where, limit) => `SELECT t.*, o.user_id AS "userId", p.state,
    coalesce(p.stock_release_pending, false) AS "stockReleasePending"
  FROM (
    SELECT ticket_id AS id, count(*) AS orders, min(id::text)::uuid AS "orderId" FROM ${SCHEMA}.orders
    WHERE ticket_id IS NOT NULL AND ${where} GROUP BY ticket_id ORDER BY ticket_id ${limit}
  ) AS t
  JOIN ${SCHEMA}.orders o ON o.id = t."orderId" LEFT JOIN ${SCHEMA}.progress p ON p.order_id = o.id
  ORDER BY t.id`,
);
