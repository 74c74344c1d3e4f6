// Pieces of SQL that several statements share.

/** SQL of milliseconds from `from` to `to`, null where one of them is null or infinite. */
export const msBetween = (from: string, to: string) =>
  `CASE WHEN isfinite(${from}) AND isfinite(${to})
     THEN round(extract(epoch FROM ${to} - ${from}) * 1000)::bigint END`;

/**
 * SQL that ends the query of a list: newest first, as ids are UUIDv7. $2: the last id of the page before, or null; $3: how
 * many rows.
 */
export const newestFirst = (id = 'id') => `AND ($2::uuid IS NULL OR ${id} < $2) ORDER BY ${id} DESC LIMIT $3`;
