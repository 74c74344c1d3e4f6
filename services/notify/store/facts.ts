// What the notify service tells an audit.
import type { Router } from 'express';
import { factRoute, messagesRoute } from '../../../app/admin/facts.ts';
import type { NotifyFact } from '../../../contracts/audit.ts';
import type { Database } from '../../../infra/database/port.ts';

const facts = (where: string, limit = '') => `SELECT order_id AS id, min(user_id) AS "userId",
    count(*) FILTER (WHERE kind = 'order.placed') AS placed,
    count(*) FILTER (WHERE kind = 'order.cancelled') AS cancelled
  FROM sluice_notify.notifications WHERE ${where} GROUP BY order_id ORDER BY order_id ${limit}`;
const AFTER = facts('order_id > $1', 'LIMIT $2');
const OF = facts('order_id = ANY($1::uuid[])');

export function notifyAudit(router: Router, database: Database): void {
  factRoute(router, database, 'notify', {
    after: (queryable, id, limit) => queryable.query<NotifyFact>(AFTER, [id, limit]),
    of: (queryable, ids) => queryable.query<NotifyFact>(OF, [ids]),
  });
  messagesRoute(router, database, 'notify');
}
