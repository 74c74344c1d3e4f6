// The notify service's facts for the audit.
import type { NotifyFact } from '../../../contracts/facts.ts';
import { factsFrom } from '../../../infra/runtime/service.ts';

export const notifyFacts = factsFrom<NotifyFact>(
  'order_id',
  (where, limit) => `SELECT order_id AS id, min(user_id) AS "userId",
    count(*) FILTER (WHERE kind = 'order.placed') AS placed,
    count(*) FILTER (WHERE kind = 'order.cancelled') AS cancelled
  FROM sluice_notify.notifications WHERE ${where} GROUP BY order_id ORDER BY order_id ${limit}`,
);
