// Pieces of SQL that several statements share.

/** SQL of milliseconds from `from` to `to`, null where one of them is null or infinite. */
export const msBetween = (from: string, to: string) =>
  `CASE WHEN isfinite(${from}) AND isfinite(${to})
     THEN round(extract(epoch FROM ${to} - ${from}) * 1000)::bigint END`;
