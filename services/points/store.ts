// The points service's SQL.
import type { PointsEntry } from '../../contracts/users.ts';
import type { Database, Transaction } from '../../infra/database/port.ts';

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
     ON CONFLICT (order_id, kind) DO NOTHING`,
    [JSON.stringify(awards)],
  );
}

/** The results as they were first reported, of the orders in $1. */
export const AWARDED = `SELECT event_id, 'points.awarded' AS type, order_id AS subject, at AS time,
    json_build_object('orderId', order_id, 'userId', user_id, 'points', points)::text AS data
  FROM ${SCHEMA}.entries WHERE order_id = ANY($1::uuid[]) AND kind = 'award'`;

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
  const rows = await database.query<{ id: string; order_id: string; points: number; kind: 'award'; at: Date }>(
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
