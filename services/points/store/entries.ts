// The points service's SQL.
import type { PointsEntry } from '../../../contracts/users.ts';
import type { Database, Transaction } from '../../../infra/database/port.ts';
import { defineStatement } from '../../../infra/messaging/outbox.ts';

const SCHEMA = 'sluice_points';

export interface Award {
  readonly id: string;
  readonly eventId: string;
  readonly orderId: string;
  readonly userId: string;
  readonly points: number;
}

/** Writes an order's award, once: a second one for the same order changes nothing. */
export async function insertAwards(tx: Transaction, awards: readonly Award[]): Promise<void> {
  await tx.execute(
    `INSERT INTO ${SCHEMA}.entries (id, order_id, user_id, kind, points, event_id)
     SELECT id, "orderId", "userId", 'award', points, "eventId"
     FROM json_to_recordset($1::json) AS r (id uuid, "eventId" uuid, "orderId" uuid, "userId" text, points bigint)
     ORDER BY "orderId" -- a placing and a cancellation in two processes meet at the same keys
     ON CONFLICT (order_id, kind) DO NOTHING`,
    [JSON.stringify(awards)],
  );
}

export type Revoke = Omit<Award, 'points'>;

/**
 * Takes back what orders were awarded, once. Of an order that has no award, an entry of 0. Concurrent awards are seen:
 * whoever revokes has written the award before, or waited for the one who did.
 */
export async function insertRevokes(tx: Transaction, revokes: readonly Revoke[]): Promise<void> {
  await tx.execute(
    `INSERT INTO ${SCHEMA}.entries (id, order_id, user_id, kind, points, event_id)
     SELECT r.id, "orderId", "userId", 'revoke', -COALESCE(award.points, 0), "eventId"
     FROM json_to_recordset($1::json) AS r (id uuid, "eventId" uuid, "orderId" uuid, "userId" text)
     LEFT JOIN ${SCHEMA}.entries award ON award.order_id = "orderId" AND award.kind = 'award'
     ORDER BY "orderId"
     ON CONFLICT (order_id, kind) DO NOTHING`,
    [JSON.stringify(revokes)],
  );
}

/** The last result of each of the orders in $1, as it was first reported. */
export const RESULTS = defineStatement({
  events: `SELECT DISTINCT ON (order_id) event_id,
    CASE kind WHEN 'award' THEN 'points.awarded' ELSE 'points.revoked' END AS type, order_id AS subject, at AS time,
    json_build_object('orderId', order_id, 'userId', user_id, 'points', abs(points))::text AS data
  FROM ${SCHEMA}.entries WHERE order_id = ANY($1::uuid[]) ORDER BY order_id, kind DESC`,
  params: (orderIds: readonly string[]) => [orderIds],
});

export async function readBalance(database: Database, userId: string): Promise<number> {
  const [row] = await database.query<{ balance: number }>(
    `SELECT LEAST(COALESCE(sum(points), 0), 9007199254740991)::bigint AS balance
     FROM ${SCHEMA}.entries WHERE user_id = $1`,
    [userId],
  );
  return row?.balance ?? 0;
}

export async function listEntries(
  database: Database,
  userId: string,
  after: string | undefined,
  limit: number,
): Promise<PointsEntry[]> {
  const rows = await database.query<{
    id: string;
    order_id: string;
    points: number;
    kind: PointsEntry['kind'];
    at: Date;
  }>(
    `SELECT id, order_id, points, kind, at FROM ${SCHEMA}.entries
     WHERE user_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`,
    [userId, after ?? null, limit],
  );
  return rows.map(({ id, order_id: orderId, points, kind, at }) => ({
    id,
    orderId,
    points,
    kind,
    at: at.toISOString(),
  }));
}
