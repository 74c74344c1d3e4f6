// Counting rows that may have become too many to count again and again.
import type { Queryable } from './port.ts';

/** Rows beyond are not counted: that takes about a second. */
export const COUNTED = 1_000_000;

/** Counts at most COUNTED rows of `source`: a table of ours, with a condition on `params`. */
export async function countSome(database: Queryable, source: string, params: readonly unknown[] = []): Promise<number> {
  const [row] = await database.query<{ rows: number }>(
    `SELECT count(*) AS rows FROM (SELECT FROM ${source} LIMIT ${COUNTED}) AS counted`,
    params,
  );
  return row?.rows ?? 0;
}
