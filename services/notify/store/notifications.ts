// The notify service's SQL.
import type { Notification } from '../../../contracts/users.ts';
import type { Database } from '../../../infra/database/port.ts';
import { defineStatement } from '../../../infra/messaging/outbox.ts';

const SCHEMA = 'sluice_notify';

export interface NewNotification {
  readonly id: string;
  readonly eventId: string;
  readonly orderId: string;
  readonly userId: string;
  readonly kind: Notification['kind'];
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
      ORDER BY "orderId", kind -- a placing and a cancellation in two processes meet at the same keys
      ON CONFLICT (order_id, kind) DO NOTHING
      RETURNING id, order_id, user_id, kind, text, at
    )`,
  events: `SELECT id AS event_id, 'notification' AS type, user_id AS subject, at AS time,
      json_build_object('id', id, 'orderId', order_id, 'kind', kind, 'text', text, 'at', ${SCHEMA}.iso(at))::text AS data
    FROM stored WHERE kind = $2`,
  params: (notifications: readonly NewNotification[], announced: Notification['kind']) => [
    JSON.stringify(notifications),
    announced,
  ],
});

/** The last result of each of the orders in $1, as it was first reported. */
export const SENT = defineStatement({
  events: `SELECT DISTINCT ON (order_id) event_id, 'notification.sent' AS type, order_id AS subject, at AS time,
    json_build_object('orderId', order_id, 'userId', user_id, 'notificationId', id, 'kind', kind)::text AS data
  FROM ${SCHEMA}.notifications WHERE order_id = ANY($1::uuid[]) ORDER BY order_id, kind`,
  params: (orderIds: readonly string[]) => [orderIds],
});

export async function listNotifications(
  database: Database,
  userId: string,
  after: string | undefined,
  limit: number,
): Promise<Notification[]> {
  const rows = await database.query<{
    id: string;
    order_id: string;
    kind: Notification['kind'];
    text: string;
    at: Date;
  }>(
    `SELECT id, order_id, kind, text, at FROM ${SCHEMA}.notifications
     WHERE user_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`,
    [userId, after ?? null, limit],
  );
  return rows.map(({ id, order_id: orderId, kind, text, at }) => ({ id, orderId, kind, text, at: at.toISOString() }));
}
