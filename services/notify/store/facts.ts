// The notify service's facts for the audit.
import type { NotifyFact } from '../../../contracts/facts.ts';
import type { FactSource } from '../../../infra/runtime/service.ts';

const facts = (where: string, limit = '') => `SELECT order_id AS id, min(user_id) AS "userId",
    count(*) FILTER (WHERE kind = 'order.placed') AS placed,
    count(*) FILTER (WHERE kind = 'order.cancelled') AS cancelled
  FROM sluice_notify.notifications WHERE ${where} GROUP BY order_id ORDER BY order_id ${limit}`;
const AFTER = facts('order_id > $1', 'LIMIT $2');
const OF = facts('order_id = ANY($1::uuid[])');

export const notifyFacts: FactSource<NotifyFact> = {
  after: (queryable, id, limit) => queryable.query(AFTER, [id, limit]),
  of: (queryable, ids) => queryable.query(OF, [ids]),
};
