// An inbox's retrying and dead messages, for an operator to list, inspect and retry.
import type { Database } from '../database/port.ts';

/** A retrying or dead message. */
export interface FailedRow {
  readonly message_id: string;
  readonly type: string | null;
  readonly subject: string | null;
  readonly status: 'retrying' | 'dead';
  readonly attempts: number;
  readonly error: string | null;
  readonly next_attempt_at: Date;
  readonly received_at: Date;
  readonly body: Uint8Array | null;
  /** The size of the message as it arrived. */
  readonly bytes: number;
  /** `body` is only the beginning, so the message cannot be retried. */
  readonly truncated: boolean;
}

export interface FailedFilter {
  readonly id?: string | undefined;
  readonly status?: 'retrying' | 'dead' | undefined;
  readonly type?: string | undefined;
  /** A part of the error, without wildcards. */
  readonly error?: string | undefined;
  /** Received longer ago than this. */
  readonly olderThanSeconds?: number | undefined;
  readonly newerThanSeconds?: number | undefined;
  /** Excludes messages that failed or were retried since this time. Ages count from it, too, instead of from now. */
  readonly failedBefore?: string | undefined;
}

/** For the index of failed messages, a query must repeat its predicate. */
export const FAILED = `status IN ('retrying', 'dead')`;

/** A FailedFilter as a condition on $1 to $7. */
const SELECTED = `${FAILED} AND ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR type = $2)
  AND ($3::text IS NULL OR strpos(error, $3) > 0)
  AND ($4::integer IS NULL OR received_at < COALESCE($7::timestamptz, now()) - $4::integer * interval '1 second')
  AND ($5::integer IS NULL OR received_at > COALESCE($7::timestamptz, now()) - $5::integer * interval '1 second')
  AND ($6::uuid IS NULL OR message_id = $6)
  AND ($7::timestamptz IS NULL OR COALESCE(handled_at, received_at) < $7)`;
const paramsOf = (filter: FailedFilter) => {
  const { status, type, error, olderThanSeconds, newerThanSeconds, id, failedBefore } = filter;
  return [status, type, error, olderThanSeconds, newerThanSeconds, id, failedBefore];
};

const COLUMNS = `message_id, type, subject, status, attempts, error, next_attempt_at, received_at, body,
  COALESCE(original_bytes, octet_length(body), 0) AS bytes, original_bytes IS NOT NULL AS truncated`;

export class FailedMessages {
  readonly #database: Pick<Database, 'query' | 'longRunning'>;
  readonly #table: string;

  /** `schema` is one of our own names, never input. */
  constructor(database: Pick<Database, 'query' | 'longRunning'>, schema: string) {
    this.#database = database;
    this.#table = `${schema}.inbox`;
  }

  /** A page, newest first; `after` is the last id of the page before. Reads all failed messages if few match. */
  list(filter: FailedFilter, after: string | undefined, limit: number): Promise<FailedRow[]> {
    return this.#database.longRunning.query(
      `SELECT ${COLUMNS} FROM ${this.#table}
       WHERE ${SELECTED}
         AND ($8::uuid IS NULL OR (received_at, message_id) <
           (SELECT received_at, message_id FROM ${this.#table} WHERE message_id = $8))
       ORDER BY received_at DESC, message_id DESC LIMIT $9`,
      [...paramsOf(filter), after, limit],
    );
  }

  async find(id: string): Promise<FailedRow | undefined> {
    const [row] = await this.#database.query<FailedRow>(
      `SELECT ${COLUMNS} FROM ${this.#table} WHERE message_id = $1 AND ${FAILED}`,
      [id],
    );
    return row;
  }

  /**
   * Counts the messages that match and can be retried, and those that match and are truncated. `asOf` is the database's
   * time of this count, to be used as `failedBefore`.
   */
  async count(filter: FailedFilter) {
    const [row] = await this.#database.longRunning.query<{ matching: number; truncated: number; asOf: string }>(
      `SELECT count(*) FILTER (WHERE original_bytes IS NULL) AS matching,
         count(*) FILTER (WHERE original_bytes IS NOT NULL) AS truncated,
         to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS "asOf"
       FROM ${this.#table} WHERE ${SELECTED}`,
      paramsOf(filter),
    );
    return row ?? { matching: 0, truncated: 0, asOf: '' };
  }

  /**
   * Gives messages that match a fresh set of attempts, due at once: the oldest first, at most `limit`. Skips truncated
   * ones and, unless `filter.id` is set, locked rows and messages with an attempt under way. A claim does not protect a
   * dead message from the retry, because it is only a claim to resend the reply. Returns how many were retried.
   */
  retry(filter: FailedFilter, limit = 1): Promise<number> {
    return this.#database.longRunning.execute(
      // handled_at, so that a run of several calls with the same `failedBefore` retries no message twice.
      `UPDATE ${this.#table}
       SET status = 'retrying', attempts = 0, next_attempt_at = now(), claimed_until = NULL, handled_at = now(),
         reply_requested = false, reply_attempts = 0, reply_error = NULL
       WHERE message_id = ANY (ARRAY(
         SELECT message_id FROM ${this.#table} WHERE ${SELECTED} AND original_bytes IS NULL
           AND ($6::uuid IS NOT NULL OR status = 'dead' OR claimed_until IS NULL OR claimed_until <= now())
         ORDER BY received_at, message_id LIMIT $8 FOR UPDATE ${filter.id === undefined ? 'SKIP LOCKED' : ''}))`,
      [...paramsOf(filter), limit],
    );
  }
}
