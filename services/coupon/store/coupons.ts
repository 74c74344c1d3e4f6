// The coupon service's SQL.
import type { Fact } from '../../../contracts/facts.ts';
import type { Coupon } from '../../../contracts/users.ts';
import type { Database, Transaction } from '../../../infra/database/port.ts';
import { newestFirst } from '../../../infra/database/sql.ts';
import { defineStatement } from '../../../infra/messaging/outbox.ts';
import { factsFrom } from '../../../infra/runtime/service.ts';

export const SCHEMA = 'sluice_coupon';

export interface NewDecision {
  readonly id: string;
  readonly eventId: string;
  readonly orderId: string;
  readonly userId: string;
  /** Null for an order that was never confirmed. */
  readonly currency: string | null;
  readonly amount?: number;
  readonly reason?: string;
}

const INSERT_DECISIONS = `INSERT INTO ${SCHEMA}.decisions
    (order_id, id, user_id, amount, currency, expires_at, reason, event_id)
  SELECT "orderId", id, "userId", amount, currency,
    CASE WHEN amount IS NOT NULL THEN now() + $2::integer * interval '1 day' END, reason, "eventId"
  FROM json_to_recordset($1::json) AS r (id uuid, "eventId" uuid, "orderId" uuid, "userId" text, currency text,
    amount bigint, reason text)
  ORDER BY "orderId" -- two processes that write the same keys in opposite order deadlock
  ON CONFLICT (order_id) DO NOTHING`;

/** Writes one decision for each order; a second one changes nothing. */
export const insertDecisions = (tx: Transaction, decisions: readonly NewDecision[], validDays: number) =>
  tx.execute(INSERT_DECISIONS, [JSON.stringify(decisions), validDays]);

const REVOKE_DECISIONS = `UPDATE ${SCHEMA}.decisions AS d SET revoked_at = now(), revoked_event_id = r."eventId"
  FROM json_to_recordset($1::json) AS r ("orderId" uuid, "eventId" uuid)
  WHERE d.order_id = r."orderId" AND d.revoked_at IS NULL`;

/** Revokes the decision of each order, once. `eventId`: of the event that reports it. */
export const revokeDecisions = (tx: Transaction, revokes: readonly Pick<NewDecision, 'orderId' | 'eventId'>[]) =>
  tx.execute(REVOKE_DECISIONS, [JSON.stringify(revokes)]);

/** The latest result of each order: the same event each time. */
export const RESULTS = defineStatement({
  events: `SELECT COALESCE(revoked_event_id, event_id) AS event_id,
    CASE WHEN revoked_at IS NOT NULL THEN 'coupon.revoked' WHEN amount IS NULL THEN 'coupon.skipped'
      ELSE 'coupon.issued' END AS type,
    order_id AS subject, COALESCE(revoked_at, at) AS time,
    CASE
      WHEN revoked_at IS NOT NULL THEN json_strip_nulls(json_build_object('orderId', order_id, 'userId', user_id,
        'couponId', CASE WHEN amount IS NOT NULL THEN id END))
      WHEN amount IS NULL THEN json_build_object('orderId', order_id, 'userId', user_id, 'reason', reason)
      ELSE json_build_object('orderId', order_id, 'userId', user_id, 'couponId', id, 'amount', amount,
        'currency', currency, 'expiresAt', ${SCHEMA}.iso(expires_at))
    END::text AS data
  FROM ${SCHEMA}.decisions WHERE order_id = ANY($1::uuid[])`,
  params: (orderIds: readonly string[]) => [orderIds],
});

export const listCoupons = (database: Database, userId: string, after: string | undefined, limit: number) =>
  database.query<Coupon>(
    `SELECT id, order_id AS "orderId", amount, currency, ${SCHEMA}.iso(expires_at) AS "expiresAt",
       CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE 'active' END AS status
     FROM ${SCHEMA}.decisions WHERE user_id = $1 AND amount IS NOT NULL ${newestFirst()}`,
    [userId, after ?? null, limit],
  );

/** For the audit. */
export const couponFacts = factsFrom<Fact<'coupon'>>(
  'order_id',
  (where, limit) => `SELECT order_id AS id, min(user_id) AS "userId",
    count(*) FILTER (WHERE amount IS NOT NULL AND revoked_at IS NULL) AS active,
    count(*) FILTER (WHERE amount IS NOT NULL AND revoked_at IS NOT NULL) AS revoked,
    count(*) FILTER (WHERE amount IS NULL) AS skipped
  FROM ${SCHEMA}.decisions WHERE ${where} GROUP BY order_id ORDER BY order_id ${limit}`,
);
