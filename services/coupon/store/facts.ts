// The coupon service's facts for the audit.
import type { CouponFact } from '../../../contracts/facts.ts';
import type { FactSource } from '../../../infra/runtime/service.ts';

const facts = (where: string, limit = '') => `SELECT order_id AS id, min(user_id) AS "userId",
    count(*) FILTER (WHERE amount IS NOT NULL AND revoked_at IS NULL) AS active,
    count(*) FILTER (WHERE amount IS NOT NULL AND revoked_at IS NOT NULL) AS revoked,
    count(*) FILTER (WHERE amount IS NULL) AS skipped
  FROM sluice_coupon.decisions WHERE ${where} GROUP BY order_id ORDER BY order_id ${limit}`;
const AFTER = facts('order_id > $1', 'LIMIT $2');
const OF = facts('order_id = ANY($1::uuid[])');

export const couponFacts: FactSource<CouponFact> = {
  after: (queryable, id, limit) => queryable.query(AFTER, [id, limit]),
  of: (queryable, ids) => queryable.query(OF, [ids]),
};
