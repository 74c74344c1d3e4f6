// The points service's facts for the audit.
import type { PointsFact } from '../../../contracts/facts.ts';
import type { FactSource } from '../../../infra/runtime/service.ts';

/** The sum is clamped to the integers that a JavaScript number holds exactly. */
const facts = (where: string, limit = '') => `SELECT order_id AS id, min(user_id) AS "userId",
    count(*) FILTER (WHERE kind = 'award') AS awards, count(*) FILTER (WHERE kind = 'revoke') AS revokes,
    GREATEST(LEAST(sum(points), 9007199254740991), -9007199254740991)::bigint AS points
  FROM sluice_points.entries WHERE ${where} GROUP BY order_id ORDER BY order_id ${limit}`;
const AFTER = facts('order_id > $1', 'LIMIT $2');
const OF = facts('order_id = ANY($1::uuid[])');

export const pointsFacts: FactSource<PointsFact> = {
  after: (queryable, id, limit) => queryable.query(AFTER, [id, limit]),
  of: (queryable, ids) => queryable.query(OF, [ids]),
};
