// The flash-sale service's SQL of open sales, for metrics.
import type { Queryable } from '../../../infra/database/port.ts';
import { SCHEMA } from './sales.ts';

export interface OpenSale {
  readonly id: string;
  readonly queued: number;
  readonly queueCap: number;
  readonly remaining: number;
  readonly held: number;
  readonly sold: number;
}

/**
 * Older sales are not read, so that a million of them cost nothing. An index of the open ones would slow each decision
 * about a purchase, because its columns change with each.
 */
const NEWEST = 10_000;

/**
 * The number of sales that are open, or sold out while units are held, and at most `limit` of them, newest first. Of
 * the newest 10,000 sales.
 */
export async function readOpenSales(database: Queryable, limit: number) {
  const [row] = await database.query<{ open: number; sales: readonly OpenSale[] }>(
    `WITH open AS (
       SELECT id, queued, queue_cap AS "queueCap", remaining, held, sold
       FROM (SELECT * FROM ${SCHEMA}.sales ORDER BY id DESC LIMIT ${NEWEST}) AS newest
       WHERE opens_at <= now() AND (closes_at IS NULL OR closes_at > now()) AND (remaining > 0 OR held > 0)
     )
     SELECT (SELECT count(*) FROM open) AS open, COALESCE((SELECT json_agg(shown) FROM (
       SELECT * FROM open ORDER BY id DESC LIMIT $1) AS shown), '[]') AS sales`,
    [limit],
  );
  return row ?? { open: 0, sales: [] };
}
