// The notify service's SQL.
import type { Fact } from '../../../contracts/facts.ts';
import type { Notification } from '../../../contracts/users.ts';
import type { Database } from '../../../infra/database/port.ts';
import { newestFirst } from '../../../infra/database/sql.ts';
import { historyFrom } from '../../../infra/messaging/history.ts';
import { defineStatement } from '../../../infra/messaging/outbox.ts';
import { factsFrom } from '../../../infra/runtime/service.ts';

const SCHEMA = 'sluice_notify';

export type Kind = Notification['kind'];

export interface NewNotification {
  readonly id: string;
  readonly eventId: string;
  readonly orderId: string;
  readonly userId: string;
  readonly kind: Kind;
  readonly text: string;
}

/** Stores notifications, once for each order and kind; the new ones of kind `announced` go to their users' topics. */
export const STORE_NOTIFICATIONS = defineStatement({
  channel: 'user',
  effects: `WITH stored AS (
      INSERT INTO ${SCHEMA}.notifications (id, order_id, user_id, kind, text, event_id)
      SELECT id, "orderId", "userId", kind, text, "eventId"
      FROM json_to_recordset($1::json) AS r (id uuid, "eventId" uuid, "orderId" uuid, "userId" text, kind text,
        text text)
      ORDER BY "orderId", kind -- two processes that write the same keys in opposite order deadlock
      ON CONFLICT (order_id, kind) DO NOTHING
      RETURNING id, order_id, user_id, kind, text, at
    )`,
  events: `SELECT id AS event_id, 'notification' AS type, user_id AS subject, at AS time,
      json_build_object('id', id, 'orderId', order_id, 'kind', kind, 'text', text, 'at', ${SCHEMA}.iso(at))::text AS data
    FROM stored WHERE kind = $2`,
  params: (stored: readonly NewNotification[], announced: Kind) => [JSON.stringify(stored), announced],
});

/** The latest result of each order: the same event each time. */
export const SENT = defineStatement({
  events: `SELECT DISTINCT ON (order_id) event_id, 'notification.sent' AS type, order_id AS subject, at AS time,
    json_build_object('orderId', order_id, 'userId', user_id, 'notificationId', id, 'kind', kind)::text AS data
  FROM ${SCHEMA}.notifications WHERE order_id = ANY($1::uuid[]) ORDER BY order_id, kind`,
  params: (orderIds: readonly string[]) => [orderIds],
});

export const listNotifications = (database: Database, userId: string, after: string | undefined, limit: number) =>
  database.query<Notification>(
    `SELECT id, order_id AS "orderId", kind, text, ${SCHEMA}.iso(at) AS at FROM ${SCHEMA}.notifications
     WHERE user_id = $1 ${newestFirst()}`,
    [userId, after ?? null, limit],
  );

/** For the audit. */
export const notifyFacts = factsFrom<Fact<'notify'>>(
  'order_id',
  (where, limit) => `SELECT order_id AS id, min(user_id) AS "userId",
    count(*) FILTER (WHERE kind = 'order.placed') AS placed,
    count(*) FILTER (WHERE kind = 'order.cancelled') AS cancelled
  FROM ${SCHEMA}.notifications WHERE ${where} GROUP BY order_id ORDER BY order_id ${limit}`,
);

/** The notification of a cancellation that was stored together with `n`, which then was neither sent nor reported. */
const REPLACED = `LEFT JOIN ${SCHEMA}.notifications cancelled ON cancelled.order_id = n.order_id
    AND n.kind = 'order.placed' AND cancelled.kind = 'order.cancelled' AND cancelled.at = n.at
  WHERE n.order_id = ANY($1::uuid[])`;

/** For the history. The id of a notification is that of its event on the user's topic. */
export const notifyHistory = historyFrom([
  {
    kind: 'notification',
    at: 'n.at',
    eventId: 'n.id',
    type: `'notification'`,
    detail: `CASE WHEN cancelled.id IS NULL THEN n.text ELSE 'not sent: ' || n.text END`,
    from: `${SCHEMA}.notifications n ${REPLACED}`,
  },
  {
    kind: 'written',
    at: 'n.at',
    eventId: 'n.event_id',
    type: `'notification.sent'`,
    from: `${SCHEMA}.notifications n ${REPLACED} AND cancelled.id IS NULL`,
  },
]);
