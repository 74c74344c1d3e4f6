// The points service's SQL.
import type { Fact } from '../../../contracts/facts.ts';
import type { PointsEntry } from '../../../contracts/users.ts';
import type { Database, Transaction } from '../../../infra/database/port.ts';
import { newestFirst } from '../../../infra/database/sql.ts';
import { historyFrom } from '../../../infra/messaging/history.ts';
import { defineStatement } from '../../../infra/messaging/outbox.ts';
import { factsFrom } from '../../../infra/runtime/service.ts';

const SCHEMA = 'sluice_points';

export interface Award {
  readonly id: string;
  readonly eventId: string;
  readonly orderId: string;
  readonly userId: string;
  readonly points: number;
}

const INSERT_AWARDS = `INSERT INTO ${SCHEMA}.entries (id, order_id, user_id, kind, points, event_id)
  SELECT id, "orderId", "userId", 'award', points, "eventId"
  FROM json_to_recordset($1::json) AS r (id uuid, "eventId" uuid, "orderId" uuid, "userId" text, points bigint)
  ORDER BY "orderId" -- two processes that write the same keys in opposite order deadlock
  ON CONFLICT (order_id, kind) DO NOTHING`;

/** Writes one award for each order; a second one changes nothing. */
export const insertAwards = (tx: Transaction, awards: readonly Award[]) =>
  tx.execute(INSERT_AWARDS, [JSON.stringify(awards)]);

const INSERT_REVOKES = `INSERT INTO ${SCHEMA}.entries (id, order_id, user_id, kind, points, event_id)
  SELECT r.id, "orderId", "userId", 'revoke', -COALESCE(award.points, 0), "eventId"
  FROM json_to_recordset($1::json) AS r (id uuid, "eventId" uuid, "orderId" uuid, "userId" text)
  LEFT JOIN ${SCHEMA}.entries award ON award.order_id = "orderId" AND award.kind = 'award'
  ORDER BY "orderId"
  ON CONFLICT (order_id, kind) DO NOTHING`;

/**
 * Takes the award of each order back, once; without an award, by an entry of 0. No concurrent award is missed: the
 * caller has inserted the award first, which waits for a concurrent insert of the same key.
 */
export const insertRevokes = (tx: Transaction, revokes: readonly Omit<Award, 'points'>[]) =>
  tx.execute(INSERT_REVOKES, [JSON.stringify(revokes)]);

/** The latest result of each order: the same event each time. */
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

export const listEntries = (database: Database, userId: string, after: string | undefined, limit: number) =>
  database.query<PointsEntry>(
    `SELECT id, order_id AS "orderId", points, kind, ${SCHEMA}.iso(at) AS at FROM ${SCHEMA}.entries
     WHERE user_id = $1 ${newestFirst()}`,
    [userId, after ?? null, limit],
  );

/** For the audit. The sum is clamped to the integers that a JavaScript number holds exactly. */
export const pointsFacts = factsFrom<Fact<'points'>>(
  'order_id',
  (where, limit) => `SELECT order_id AS id, min(user_id) AS "userId",
    count(*) FILTER (WHERE kind = 'award') AS awards, count(*) FILTER (WHERE kind = 'revoke') AS revokes,
    GREATEST(LEAST(sum(points), 9007199254740991), -9007199254740991)::bigint AS points
  FROM ${SCHEMA}.entries WHERE ${where} GROUP BY order_id ORDER BY order_id ${limit}`,
);

/**
 * For the history. An award that was written together with its revocation is left out: its event was never published.
 */
export const pointsHistory = historyFrom([
  {
    kind: 'written',
    at: 'e.at',
    eventId: 'e.event_id',
    type: `CASE e.kind WHEN 'award' THEN 'points.awarded' ELSE 'points.revoked' END`,
    detail: `abs(e.points) || ' points'`,
    from: `${SCHEMA}.entries e LEFT JOIN ${SCHEMA}.entries revoke
      ON revoke.order_id = e.order_id AND revoke.kind = 'revoke' AND e.kind = 'award'
      WHERE e.order_id = ANY($1::uuid[]) AND revoke.at IS DISTINCT FROM e.at`,
  },
]);
