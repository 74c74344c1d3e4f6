// The coupon service's facts for the audit.
import type { CouponFact } from '../../../contracts/facts.ts';
import { factsFrom } from '../../../infra/runtime/service.ts';

export const couponFacts = factsFrom<CouponFact>(
  'order_id',
  (where, limit) => `SELECT order_id AS id, min(user_id) AS "userId",
    count(*) FILTER (WHERE amount IS NOT NULL AND revoked_at IS NULL) AS active,
    count(*) FILTER (WHERE amount IS NOT NULL AND revoked_at IS NOT NULL) AS revoked,
    count(*) FILTER (WHERE amount IS NULL) AS skipped
  FROM sluice_coupon.decisions WHERE ${where} GROUP BY order_id ORDER BY order_id ${limit}`,
);
