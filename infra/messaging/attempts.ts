// The rows of failed attempts, from which a history shows how often something failed, when and why. Each row is written
// by the statement that records the failure. Unreadable messages have no rows here: a flood of them must not fill the
// disk, and the inbox keeps the error of each.
import type { Queryable } from '../database/port.ts';

/** Maximum number of rows that one statement deletes. */
export const PRUNE_BATCH = 10_000;

const tableOf = (schema: string) => `${schema}.attempts`;

/** The columns of a row as SQL; one that is left out is null. */
export interface AttemptSql {
  readonly subject: string;
  readonly messageId?: string;
  readonly type?: string;
  /** The number of the attempt, from 1. */
  readonly attempt: string;
  readonly outcome: string;
  readonly error: string;
  readonly durationMs?: string;
  readonly reportId?: string;
}

/** An INSERT for each row of `from`, which may be a CTE that returns changed rows. `schema` is one of our own names. */
export const insertAttempts = (schema: string, row: AttemptSql, from: string) => {
  const { subject, messageId, type, attempt, outcome, error, durationMs, reportId } = row;
  return `INSERT INTO ${tableOf(schema)} (subject, message_id, type, attempt, outcome, error, duration_ms, report_id)
    SELECT ${subject}, ${messageId ?? 'NULL::uuid'}, ${type ?? 'NULL::text'}, ${attempt}, ${outcome}, ${error},
      ${durationMs ?? 'NULL::integer'}, ${reportId ?? 'NULL::uuid'}
    FROM ${from}`;
};

/** Deletes attempts that failed more than `retentionDays` days ago, at most PRUNE_BATCH. Returns how many. */
export const pruneAttempts = (database: Queryable, schema: string, retentionDays: number): Promise<number> =>
  database.execute(
    `DELETE FROM ${tableOf(schema)} WHERE id = ANY (ARRAY(
       SELECT id FROM ${tableOf(schema)} WHERE failed_at < now() - $1::integer * interval '1 day' LIMIT $2))`,
    [retentionDays, PRUNE_BATCH],
  );
