// The messages in a service's outbox and inbox, for audits and metrics: how many, and where a subject's messages are.
import type { Queryable } from '../database/port.ts';
import { msBetween } from '../database/sql.ts';
import { DISCARDED, FAILED } from './failed-selection.ts';

/** Dead messages that the summary names. */
const MAX_DEAD = 20;

/**
 * SQL of how many messages wait at each place of a schema, and the age of the oldest in milliseconds: a row
 * (place, rows, "oldestMs") for each place that holds messages. Places are the outbox's channels and the statuses of
 * the inbox. Each SELECT reads at most `limit` rows, and none of the done ones, of which there may be millions.
 */
export const placesOf = (schema: string, limit: number | 'ALL') => {
  const counted = (place: string, source: string, since: string) =>
    `SELECT place, count(*) AS rows, ${msBetween('min(since)', 'now()')} AS "oldestMs"
     FROM (SELECT ${place} AS place, ${since} AS since FROM ${schema}.${source} LIMIT ${limit}) AS counted
     GROUP BY place`;
  return [
    counted('channel', 'outbox', 'written_at'),
    counted('status', "inbox WHERE status = 'pending'", 'received_at'),
    counted('status', `inbox WHERE ${FAILED}`, 'received_at'),
  ].join(' UNION ALL ');
};

/** A row of `placesOf`. */
export interface Place {
  readonly place: string;
  readonly rows: number;
  readonly oldestMs: number | null;
}

/** By place, from the rows of `placesOf`; the age is null if there are none. */
export function messagesByPlace(places: readonly Place[]) {
  const at = (name: string) => {
    const { rows = 0, oldestMs = null } = places.find(({ place }) => place === name) ?? {};
    return { rows, oldestMs };
  };
  return {
    outbox: { bus: at('bus'), user: at('user') },
    inbox: { pending: at('pending'), retrying: at('retrying'), dead: at('dead') },
  };
}

/**
 * How many messages wait, with the age of the oldest (null if there are none), and the latest dead ones. `schema` is
 * one of our own names, never input.
 */
export async function countMessages(database: Queryable, schema: string) {
  const places = await database.query<Place>(placesOf(schema, 'ALL'));
  const dead = await database.query<{ id: string; type: string | null; subject: string | null; error: string }>(
    `SELECT message_id AS id, type, subject, coalesce(error, '') AS error FROM ${schema}.inbox
     WHERE ${FAILED} AND status = 'dead' ORDER BY received_at DESC, message_id DESC LIMIT ${MAX_DEAD}`,
  );
  return { ...messagesByPlace(places), dead };
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
