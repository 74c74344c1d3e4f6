// What nobody could handle, for an operator: an inbox's retrying and dead rows, to be listed, looked at and retried.
// `schema` is one of our own names, never input.
import type { Database } from '../database/port.ts';

/** Retrying and dead messages, as an operator sees them. */
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
  /** Of the message as it arrived. */
  readonly bytes: number;
  /** `body` is only its beginning: it cannot be retried. */
  readonly truncated: boolean;
}

export interface FailedFilter {
  readonly status?: 'retrying' | 'dead' | undefined;
  readonly type?: string | undefined;
  /** A part of the error, taken literally. */
  readonly error?: string | undefined;
  /** Received longer ago than this. */
  readonly olderThanSeconds?: number | undefined;
  readonly newerThanSeconds?: number | undefined;
}

export interface RetrySelection extends FailedFilter {
  readonly id?: string | undefined;
  /** Last failed, or last retried, before this time: one that failed again since is left alone. */
  readonly failedBefore?: string | undefined;
}

/**
 * An operator's filter as a condition on $1 to $5, and `asOf`, from when ages count. strpos() takes the text as it is,
 * without wildcards.
 */
const matchingAsOf = (
  asOf: string,
) => `status IN ('retrying', 'dead') AND ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR type = $2)
  AND ($3::text IS NULL OR strpos(error, $3) > 0)
  AND ($4::integer IS NULL OR received_at < ${asOf} - $4::integer * interval '1 second')
  AND ($5::integer IS NULL OR received_at > ${asOf} - $5::integer * interval '1 second')`;
const matching = ({ status, type, error, olderThanSeconds, newerThanSeconds }: FailedFilter) => [
  status ?? null,
  type ?? null,
  error ?? null,
  olderThanSeconds ?? null,
  newerThanSeconds ?? null,
];

/** What more is said about what to retry, on $6 and $7. In a run of several calls, ages count from its beginning. */
const SELECTED = `${matchingAsOf('COALESCE($7::timestamptz, now())')} AND ($6::uuid IS NULL OR message_id = $6)
  AND ($7::timestamptz IS NULL OR COALESCE(handled_at, received_at) < $7)`;
const selected = ({ id, failedBefore }: RetrySelection) => [id ?? null, failedBefore ?? null];

/** FailedRow's columns. */
const SHOWN = `message_id, type, subject, status, attempts, error, next_attempt_at, received_at, body,
  COALESCE(original_bytes, octet_length(body), 0) AS bytes, original_bytes IS NOT NULL AS truncated`;

export class FailedMessages {
  readonly #database: Pick<Database, 'query' | 'longRunning'>;
  readonly #table: string;

  constructor(database: Pick<Database, 'query' | 'longRunning'>, schema: string) {
    this.#database = database;
    this.#table = `${schema}.inbox`;
  }

  /** Newest first; `after` is the last id of the page before. Looks through all of them when few match. */
  list(filter: FailedFilter, after: string | undefined, limit: number): Promise<FailedRow[]> {
    return this.#database.longRunning.query(
      `SELECT ${SHOWN} FROM ${this.#table}
       WHERE ${matchingAsOf('now()')}
         AND ($6::uuid IS NULL OR (received_at, message_id) <
           (SELECT received_at, message_id FROM ${this.#table} WHERE message_id = $6))
       ORDER BY received_at DESC, message_id DESC LIMIT $7`,
      [...matching(filter), after ?? null, limit],
    );
  }

  async find(id: string): Promise<FailedRow | undefined> {
    const [row] = await this.#database.query<FailedRow>(
      `SELECT ${SHOWN} FROM ${this.#table} WHERE message_id = $1 AND status IN ('retrying', 'dead')`,
      [id],
    );
    return row;
  }

  /**
   * How many match and can be retried, how many match and are truncated, and the database's time of this count, as
   * `failedBefore` takes it.
   */
  async count(
    selection: RetrySelection,
  ): Promise<{ readonly matching: number; readonly truncated: number; readonly asOf: string }> {
    const [row] = await this.#database.longRunning.query<{ matching: number; truncated: number; as_of: string }>(
      `SELECT count(*) FILTER (WHERE original_bytes IS NULL) AS matching,
         count(*) FILTER (WHERE original_bytes IS NOT NULL) AS truncated,
         to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS as_of
       FROM ${this.#table} WHERE ${SELECTED}`,
      [...matching(selection), ...selected(selection)],
    );
    return { matching: row?.matching ?? 0, truncated: row?.truncated ?? 0, asOf: row?.as_of ?? '' };
  }

  /**
   * Gives failed messages a fresh set of attempts, at once: those that match, the oldest first, at most `limit`. Passes
   * over truncated ones, rows that are locked and, except under its id, a message that is being attempted. The claim on a
   * dead message is no attempt: only its reply is being resent. Returns how many there were.
   */
  retry(selection: RetrySelection, limit = 1): Promise<number> {
    // From here on it did not fail before the run of calls that retries it: see `failedBefore`.
    return this.#database.longRunning.execute(
      `UPDATE ${this.#table}
       SET status = 'retrying', attempts = 0, next_attempt_at = now(), claimed_until = NULL, handled_at = now(),
         reply_requested = false, reply_attempts = 0, reply_error = NULL
       WHERE message_id IN (
         SELECT message_id FROM ${this.#table} WHERE ${SELECTED} AND original_bytes IS NULL
           AND ($6::uuid IS NOT NULL OR status = 'dead' OR claimed_until IS NULL OR claimed_until <= now())
         ORDER BY received_at, message_id LIMIT $8 FOR UPDATE ${selection.id === undefined ? 'SKIP LOCKED' : ''})`,
      [...matching(selection), ...selected(selection), limit],
    );
  }
}
