// The coupon service's SQL.
import type { Coupon } from '../../../contracts/users.ts';
import type { Database, Transaction } from '../../../infra/database/port.ts';
import { defineStatement } from '../../../infra/messaging/outbox.ts';

const SCHEMA = 'sluice_coupon';

export interface NewDecision {
  readonly id: string;
  readonly eventId: string;
  readonly orderId: string;
  readonly userId: string;
  /** Null for an order that was never firm. */
  readonly currency: string | null;
  readonly amount?: number;
  readonly reason?: string;
}

/** Writes an order's decision, once: a second one for the same order changes nothing. */
export async function insertDecisions(
  tx: Transaction,
  decisions: readonly NewDecision[],
  validDays: number,
): Promise<void> {
  await tx.execute(
    `INSERT INTO ${SCHEMA}.decisions (order_id, id, user_id, amount, currency, expires_at, reason, event_id)
     SELECT "orderId", id, "userId", amount, currency,
       CASE WHEN amount IS NOT NULL THEN now() + $2::integer * interval '1 day' END, reason, "eventId"
     FROM json_to_recordset($1::json) AS r (id uuid, "eventId" uuid, "orderId" uuid, "userId" text, currency text,
       amount bigint, reason text)
     ORDER BY "orderId" -- a placing and a cancellation in two processes meet at the same keys
     ON CONFLICT (order_id) DO NOTHING`,
    [JSON.stringify(decisions), validDays],
  );
}

/** Revokes what was decided for orders, once. `eventId`: of the event that reports it. */
export async function revokeDecisions(
  tx: Transaction,
  revokes: readonly { readonly orderId: string; readonly eventId: string }[],
): Promise<void> {
  await tx.execute(
    `UPDATE ${SCHEMA}.decisions AS d SET revoked_at = now(), revoked_event_id = r."eventId"
     FROM json_to_recordset($1::json) AS r ("orderId" uuid, "eventId" uuid)
     WHERE d.order_id = r."orderId" AND d.revoked_at IS NULL`,
    [JSON.stringify(revokes)],
  );
}

/** The last result of each of the orders in $1, as it was first reported. */
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

export async function listCoupons(
  database: Database,
  userId: string,
  after: string | undefined,
  limit: number,
): Promise<Coupon[]> {
  const rows = await database.query<{
    id: string;
    order_id: string;
    amount: number;
    currency: string;
    status: Coupon['status'];
    expires_at: Date;
  }>(
    `SELECT id, order_id, amount, currency, expires_at,
       CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE 'active' END AS status
     FROM ${SCHEMA}.decisions
     WHERE user_id = $1 AND amount IS NOT NULL AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`,
    [userId, after ?? null, limit],
  );
  return rows.map(({ order_id, expires_at, ...coupon }) => ({
    ...coupon,
    orderId: order_id,
    expiresAt: expires_at.toISOString(),
  }));
}
