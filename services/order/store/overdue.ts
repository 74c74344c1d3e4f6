// The order service's SQL of what is late, for metrics.
import type { Queryable } from '../../../infra/database/port.ts';
import { MAX_COUNT } from '../../../infra/database/sql.ts';
import { SCHEMA } from './orders.ts';

/** Orders by what they lack. Each number is at most MAX_COUNT. */
export interface Overdue {
  /**
   * Orders without all results of their steps, although the request for them is due again or was resent. A failed step is
   * a result: its message is dead or discarded.
   */
  readonly placed: number;
  /** Cancelled orders without all reversals, in the same sense. */
  readonly cancelling: number;
  /** Orders with a payment in progress: the provider was called, and the outcome is not known. */
  readonly paying: number;
  /** How long the first of those payments has been in progress; null if there is none. */
  readonly payingSeconds: number | null;
}

const lacksResult = `'pending' IN (points->>'status', coupon->>'status', notification->>'status')`;

const overdue = (condition: string) =>
  `SELECT count(*) FROM (SELECT FROM ${SCHEMA}.progress
     WHERE ${condition} AND (resends > 0 OR resend_at <= now()) LIMIT ${MAX_COUNT}) AS counted`;

/** Reads only rows of orders that are not completed: each part has a partial index. */
export async function countOverdue(database: Queryable): Promise<Overdue> {
  const [row] = await database.query<Overdue>(
    `SELECT (${overdue(`status = 'placed' AND ${lacksResult}`)}) AS placed,
       (${overdue(`status = 'cancelling'`)}) AS cancelling, count(*) AS paying,
       extract(epoch FROM now() - min(paying_since))::float8 AS "payingSeconds"
     FROM (SELECT paying_since FROM ${SCHEMA}.progress WHERE state = 'paying' LIMIT ${MAX_COUNT}) AS paying`,
  );
  return row ?? { placed: 0, cancelling: 0, paying: 0, payingSeconds: null };
}
