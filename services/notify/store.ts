// The notify service's SQL.
import type { Notification } from '../../contracts/users.ts';
import type { Database, Transaction } from '../../infra/database/port.ts';

const SCHEMA = 'sluice_notify';

export interface NewNotification {
  readonly id: string;
  readonly eventId: string;
  readonly orderId: string;
  readonly userId: string;
  readonly kind: Notification['kind'];
  readonly text: string;
}

/**
 * Stores notifications, once for each order and kind, and puts those that are new into the outbox for their users'
 * topics.
 */
export async function insertNotifications(tx: Transaction, notifications: readonly NewNotification[]): Promise<void> {
  await tx.execute(
    `WITH stored AS (
       INSERT INTO ${SCHEMA}.notifications (id, order_id, user_id, kind, text, event_id)
       SELECT id, "orderId", "userId", kind, text, "eventId"
       FROM json_to_recordset($1::json) AS r (id uuid, "eventId" uuid, "orderId" uuid, "userId" text, kind text,
         text text)
       ON CONFLICT (order_id, kind) DO NOTHING
       RETURNING id, order_id, user_id, kind, text, at
     )
     INSERT INTO ${SCHEMA}.outbox (channel, event_id, type, subject, time, data)
     SELECT 'user', id, 'notification', user_id, at,
       json_build_object('id', id, 'orderId', order_id, 'kind', kind, 'text', text, 'at', ${SCHEMA}.iso(at))::text
     FROM stored`,
    [JSON.stringify(notifications)],
  );
}

/** The results as they were first reported, of the orders in $1. */
export const SENT = `SELECT event_id, 'notification.sent' AS type, order_id AS subject, at AS time,
    json_build_object('orderId', order_id, 'userId', user_id, 'notificationId', id, 'kind', kind)::text AS data
  FROM ${SCHEMA}.notifications WHERE order_id = ANY($1::uuid[]) AND kind = 'order.placed'`;

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
