// The messages in a service's outbox and inbox, for audits: how many, and where a subject's messages are.
import type { Queryable } from '../database/port.ts';
import { msBetween } from '../database/sql.ts';
import { DISCARDED, FAILED } from './failed-selection.ts';

/** Dead messages that the summary names. */
const MAX_DEAD = 20;

/**
 * How many messages wait, with the age of the oldest (null if there are none), and the latest dead ones. `schema` is
 * one of our own names, never input.
 */
export async function countMessages(database: Queryable, schema: string) {
  const rows = await database.query<{ place: string; rows: number; oldestMs: number | null }>(
    `SELECT channel AS place, count(*) AS rows, ${msBetween('min(written_at)', 'now()')} AS "oldestMs"
     FROM ${schema}.outbox GROUP BY channel
     UNION ALL
     SELECT 'pending', count(*), ${msBetween('min(received_at)', 'now()')} FROM ${schema}.inbox WHERE status = 'pending'
     UNION ALL
     SELECT status, count(*), ${msBetween('min(received_at)', 'now()')} FROM ${schema}.inbox WHERE ${FAILED} GROUP BY status`,
  );
  const dead = await database.query<{ id: string; type: string | null; subject: string | null; error: string }>(
    `SELECT message_id AS id, type, subject, coalesce(error, '') AS error FROM ${schema}.inbox
     WHERE ${FAILED} AND status = 'dead' ORDER BY received_at DESC, message_id DESC LIMIT ${MAX_DEAD}`,
  );
  const at = (place: string) => {
    const { rows: count = 0, oldestMs = null } = rows.find((row) => row.place === place) ?? {};
    return { rows: count, oldestMs };
  };
  return {
    outbox: { bus: at('bus'), user: at('user') },
    inbox: { pending: at('pending'), retrying: at('retrying'), dead: at('dead') },
    dead,
  };
}

/**
 * Finds the messages about these subjects. Each SELECT of the inbox uses a partial index without the done messages, of
 * which there may be millions.
 */
export function locateMessages(database: Queryable, schema: string, subjects: readonly string[]) {
  type Place = 'outbox' | 'pending' | 'retrying' | 'dead' | 'discarded';
  return database.query<{ subject: string; id: string; type: string | null; place: Place }>(
    `SELECT subject, event_id AS id, type, 'outbox' AS place FROM ${schema}.outbox
     WHERE channel = 'bus' AND subject = ANY($1::text[])
     UNION ALL
     SELECT subject::text, message_id, type, status FROM ${schema}.inbox
     WHERE status = 'pending' AND subject = ANY($1::uuid[])
     UNION ALL
     SELECT subject::text, message_id, type, status FROM ${schema}.inbox WHERE ${FAILED} AND subject = ANY($1::uuid[])
     UNION ALL
     SELECT subject::text, message_id, type, 'discarded' FROM ${schema}.inbox
     WHERE ${DISCARDED} AND subject = ANY($1::uuid[])`,
    [subjects],
  );
}
