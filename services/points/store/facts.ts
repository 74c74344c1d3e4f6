// The points service's facts for the audit.
import type { PointsFact } from '../../../contracts/facts.ts';
import { factsFrom } from '../../../infra/runtime/service.ts';

/** The sum is clamped to the integers that a JavaScript number holds exactly. */
export const pointsFacts = factsFrom<PointsFact>(
  'order_id',
  (where, limit) => `SELECT order_id AS id, min(user_id) AS "userId",
    count(*) FILTER (WHERE kind = 'award') AS awards, count(*) FILTER (WHERE kind = 'revoke') AS revokes,
    GREATEST(LEAST(sum(points), 9007199254740991), -9007199254740991)::bigint AS points
  FROM sluice_points.entries WHERE ${where} GROUP BY order_id ORDER BY order_id ${limit}`,
);
