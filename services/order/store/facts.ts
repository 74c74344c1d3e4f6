// What the order service tells an audit.
import type { OrderFact, TicketOrderFact } from '../../../contracts/facts.ts';
import { type StepName, type StepStatus, stepNames } from '../../../contracts/orders.ts';
import type { Queryable } from '../../../infra/database/port.ts';
import { msBetween } from '../../../infra/database/sql.ts';
import type { FactSource } from '../../../infra/runtime/service.ts';
import { SCHEMA } from './orders.ts';

interface OrderRow extends Omit<OrderFact, 'steps'>, Record<StepName, StepStatus> {}

/** SQL of a step's status as clients see it: see shownStep. */
const shownStatus = (name: StepName) => `CASE WHEN p.${name}->>'status' <> 'reverted' AND p.failed_reversals ? '${name}'
      THEN 'failed' ELSE coalesce(p.${name}->>'status', 'pending') END`;

/** `among`: which ids. Said of both tables, so that a join of their indexes begins where the page does. */
const selectOrders = (
  among: (id: string) => string,
  limit = '',
) => `SELECT o.id, o.user_id AS "userId", o.ticket_id AS "ticketId", p.state,
    coalesce(p.state = 'firm' OR p.state = 'cancelled' AND (p.expires_at IS NULL OR p.paid_at IS NOT NULL), false)
      AS "everFirm",
    coalesce(p.status NOT IN ('completed', 'cancelled') OR p.give_back_at IS NOT NULL, true) AS open,
    coalesce(p.unit_to_return, false) AS "unitToReturn", p.give_back_at IS NOT NULL AS "toGiveBack",
    coalesce(p.charge_retries, 0) AS "chargeRetries", coalesce(p.refund_attempts, 0) AS "refundAttempts",
    coalesce(p.refund_rejected, false) AS "refundRejected",
    ${stepNames.map((name) => `${shownStatus(name)} AS ${name}`).join(', ')},
    ${msBetween('greatest(o.created_at, p.paid_at, p.cancelled_at)', 'now()')} AS "sinceMs",
    CASE p.status WHEN 'completed' THEN NULL WHEN 'cancelled' THEN ${msBetween('now()', 'p.give_back_at')}
      WHEN 'awaiting-payment' THEN CASE p.state WHEN 'paying' THEN ${msBetween('now()', 'p.charge_again_at')}
        ELSE ${msBetween('now()', 'p.expires_at')} END
      ELSE ${msBetween('now()', 'p.ask_again_at')} END AS "dueInMs"
  FROM ${SCHEMA}.orders o LEFT JOIN ${SCHEMA}.progress p ON p.order_id = o.id AND ${among('p.order_id')}
  WHERE ${among('o.id')} ORDER BY o.id ${limit}`;
const ORDERS_AFTER = selectOrders((id) => `${id} > $1`, 'LIMIT $2');
const ORDERS_OF = selectOrders((id) => `${id} = ANY($1::uuid[])`);

const orderFact = ({ points, coupon, notification, ...row }: OrderRow): OrderFact => ({
  ...row,
  steps: { points, coupon, notification },
});
const readOrders = async (queryable: Queryable, text: string, params: readonly unknown[]) =>
  (await queryable.query<OrderRow>(text, params)).map(orderFact);

/** The first order's own facts beside the count: there is a second one only where the unique key is gone. */
const selectTickets = (where: string, limit = '') => `SELECT t.*, o.user_id AS "userId", p.state,
    coalesce(p.unit_to_return, false) AS "unitToReturn"
  FROM (
    SELECT ticket_id AS id, count(*) AS orders, min(id::text)::uuid AS "orderId" FROM ${SCHEMA}.orders
    WHERE ticket_id IS NOT NULL AND ${where} GROUP BY ticket_id ORDER BY ticket_id ${limit}
  ) AS t
  JOIN ${SCHEMA}.orders o ON o.id = t."orderId" LEFT JOIN ${SCHEMA}.progress p ON p.order_id = o.id
  ORDER BY t.id`;
const TICKETS_AFTER = selectTickets('ticket_id > $1', 'LIMIT $2');
const TICKETS_OF = selectTickets('ticket_id = ANY($1::uuid[])');

export const orderFacts: FactSource<OrderFact> = {
  after: (queryable, id, limit) => readOrders(queryable, ORDERS_AFTER, [id, limit]),
  of: (queryable, ids) => readOrders(queryable, ORDERS_OF, [ids]),
};

export const ticketOrderFacts: FactSource<TicketOrderFact> = {
  after: (queryable, id, limit) => queryable.query(TICKETS_AFTER, [id, limit]),
  of: (queryable, ids) => queryable.query(TICKETS_OF, [ids]),
};
