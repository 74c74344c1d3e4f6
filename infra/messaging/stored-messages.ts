// What a service's outbox and inbox hold, for whoever looks for messages that are under way.
import type { Queryable } from '../database/port.ts';
import { msBetween } from '../database/sql.ts';

interface Waiting {
  readonly rows: number;
  /** Age of the oldest one; null where there is none. */
  readonly oldestMs: number | null;
}

export interface StoredMessages {
  readonly outbox: { readonly bus: Waiting; readonly user: Waiting };
  readonly inbox: { readonly pending: Waiting; readonly retrying: Waiting; readonly dead: Waiting };
  /** Of the dead ones, the latest. */
  readonly dead: {
    readonly id: string;
    readonly type: string | null;
    readonly subject: string | null;
    readonly error: string;
  }[];
}

export interface MessageLocation {
  readonly subject: string;
  /** The event's id. */
  readonly id: string;
  readonly type: string | null;
  readonly place: 'outbox' | 'pending' | 'retrying' | 'dead';
}

/** Dead messages that the summary names. */
const MAX_DEAD = 20;

/** `schema` is one of our own names, never input. */
export async function countMessages(database: Queryable, schema: string): Promise<StoredMessages> {
  const rows = await database.query<{ place: string; rows: number; oldest_ms: number | null }>(
    `SELECT channel AS place, count(*) AS rows, ${msBetween('min(written_at)', 'now()')} AS oldest_ms
     FROM ${schema}.outbox GROUP BY channel
     UNION ALL
     SELECT 'pending', count(*), ${msBetween('min(received_at)', 'now()')} FROM ${schema}.inbox WHERE status = 'pending'
     UNION ALL
     SELECT status, count(*), ${msBetween('min(received_at)', 'now()')} FROM ${schema}.inbox
     WHERE status IN ('retrying', 'dead') GROUP BY status`,
  );
  const dead = await database.query<StoredMessages['dead'][number]>(
    `SELECT message_id AS id, type, subject, coalesce(error, '') AS error FROM ${schema}.inbox
     WHERE status IN ('retrying', 'dead') AND status = 'dead'
     ORDER BY received_at DESC, message_id DESC LIMIT ${MAX_DEAD}`,
  );
  const at = (place: string) => {
    const found = rows.find((row) => row.place === place);
    return { rows: found?.rows ?? 0, oldestMs: found?.oldest_ms ?? null };
  };
  return {
    outbox: { bus: at('bus'), user: at('user') },
    inbox: { pending: at('pending'), retrying: at('retrying'), dead: at('dead') },
    dead,
  };
}

/** Where messages about these subjects are. Each SELECT by an index of what is not done: the done ones may be millions. */
export function locateMessages(
  database: Queryable,
  schema: string,
  ids: readonly string[],
): Promise<MessageLocation[]> {
  return database.query<MessageLocation>(
    `SELECT subject, event_id AS id, type, 'outbox' AS place FROM ${schema}.outbox
     WHERE channel = 'bus' AND subject = ANY($1::text[])
     UNION ALL
     SELECT subject::text, message_id, type, status FROM ${schema}.inbox
     WHERE status = 'pending' AND subject = ANY($1::uuid[])
     UNION ALL
     SELECT subject::text, message_id, type, status FROM ${schema}.inbox
     WHERE status IN ('retrying', 'dead') AND subject = ANY($1::uuid[])`,
    [ids],
  );
}
