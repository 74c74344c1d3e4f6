// SQL that several modules share.
import type { Queryable } from './port.ts';

/** SQL of the milliseconds from `from` to `to`; null if one of them is null or infinite. */
export const msBetween = (from: string, to: string) =>
  `CASE WHEN isfinite(${from}) AND isfinite(${to})
     THEN round(extract(epoch FROM ${to} - ${from}) * 1000)::bigint END`;

/** SQL of a delay that doubles: `baseMs` milliseconds, `times` times doubled, at most `max`. */
export const backoff = (times: string, max = "interval '1 hour'", baseMs = '$1::integer') =>
  `LEAST(${baseMs} * interval '1 ms' * 2 ^ LEAST(${times}, 20), ${max})`;

/** SQL of a time as ISO 8601 in UTC to the microsecond, so that the texts of two times sort as the times do. */
export const isoMicros = (at: string) => `to_char((${at}) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/** countSome counts no further than this, which takes about a second. */
export const MAX_COUNT = 1_000_000;

/** Counts at most MAX_COUNT rows. `source`: a table of ours, with a condition on `params`. */
export async function countSome(database: Queryable, source: string, params: readonly unknown[] = []): Promise<number> {
  const [row] = await database.query<{ rows: number }>(
    `SELECT count(*) AS rows FROM (SELECT FROM ${source} LIMIT ${MAX_COUNT}) AS counted`,
    params,
  );
  return row?.rows ?? 0;
}

/** The end of a list's query: newest first, as ids are UUIDv7. $2: last id of the page before, or null; $3: limit. */
export const newestFirst = (id = 'id') => `AND ($2::uuid IS NULL OR ${id} < $2) ORDER BY ${id} DESC LIMIT $3`;
