// An inbox's failed messages, for an operator to list, group and inspect: retrying, dead and discarded ones. What
// operators decide about them is in failed-actions.ts.
import type { Database } from '../database/port.ts';
import { FailedActions } from './failed-actions.ts';
import { DISCARDED, FAILED, type FailedFilter, NO_GROUP, selection } from './failed-selection.ts';

/** `done`: only a message with a corrected copy is still shown then. */
type FailedStatus = 'retrying' | 'dead' | 'discarded' | 'done';

export interface FailedRow {
  readonly message_id: string;
  readonly type: string | null;
  readonly subject: string | null;
  readonly status: FailedStatus;
  readonly attempts: number;
  readonly error: string | null;
  readonly error_group: string | null;
  readonly next_attempt_at: Date | null;
  readonly received_at: Date;
  readonly discarded_at: Date | null;
  readonly discard_reason: string | null;
  readonly body: Uint8Array | null;
  /** The size of the message as it arrived. */
  readonly bytes: number;
  /** `body` is only the beginning, so the message cannot be retried. */
  readonly truncated: boolean;
  /** Whether a corrected copy is handled in place of `body`. */
  readonly is_corrected: boolean;
}

/** Messages of one type whose errors differ only in ids and numbers. */
export interface ErrorGroup {
  readonly id: string;
  readonly dead: number;
  readonly retrying: number;
  /** When its messages were received. */
  readonly oldest: Date;
  readonly newest: Date;
  /** Of its newest message. */
  readonly message_id: string;
  readonly type: string | null;
  readonly error: string | null;
  /** The error without ids and numbers. */
  readonly pattern: string | null;
}

/** How far the messages of a run of retries are. */
export interface RunProgress {
  readonly waiting: number;
  readonly succeeded: number;
  readonly failed: number;
}

/** The status that operators see. */
const SHOWN_STATUS = `CASE WHEN ${DISCARDED} THEN 'discarded' ELSE status END`;

const COLUMNS = `message_id, type, subject, ${SHOWN_STATUS} AS status, attempts, error, error_group, next_attempt_at,
  received_at, discarded_at, discard_reason, body, COALESCE(original_bytes, octet_length(body), 0) AS bytes,
  original_bytes IS NOT NULL AS truncated, corrected IS NOT NULL AS is_corrected`;

export class FailedMessages {
  readonly actions: FailedActions;
  readonly #database: Pick<Database, 'query' | 'longRunning'>;
  readonly #schema: string;
  readonly #table: string;

  /** `schema` is one of our own names, never input. */
  constructor(database: Pick<Database, 'query' | 'longRunning'>, schema: string) {
    this.actions = new FailedActions(database, schema);
    this.#database = database;
    this.#schema = schema;
    this.#table = `${schema}.inbox`;
  }

  /** A page, newest first; `after` is the last id of the page before. Reads all failed messages if few match. */
  list(filter: FailedFilter, after: string | undefined, limit: number): Promise<FailedRow[]> {
    const { condition, params } = selection(filter);
    const next = params.length + 1;
    const older = `AND (received_at, message_id) < (SELECT received_at, message_id FROM ${this.#table} WHERE message_id = $${next + 1})`;
    return this.#database.longRunning.query(
      `SELECT ${COLUMNS} FROM ${this.#table} WHERE ${condition} ${after === undefined ? '' : older}
       ORDER BY received_at DESC, message_id DESC LIMIT $${next}`,
      [...params, limit, ...(after === undefined ? [] : [after])],
    );
  }

  /** Also finds a done message that has a corrected copy. */
  async find(id: string): Promise<(FailedRow & { readonly corrected: Uint8Array | null }) | undefined> {
    const [row] = await this.#database.query<FailedRow & { readonly corrected: Uint8Array | null }>(
      `SELECT ${COLUMNS}, corrected FROM ${this.#table}
       WHERE message_id = $1 AND (status IN ('retrying', 'dead') OR status = 'done' AND corrected IS NOT NULL)`,
      [id],
    );
    return row;
  }

  /**
   * Counts the messages that match and can be retried, and those that match and are truncated. `asOf` is the database's
   * time of this count.
   */
  async count(filter: FailedFilter) {
    const { condition, params } = selection(filter);
    const [row] = await this.#database.longRunning.query<{ matching: number; truncated: number; asOf: string }>(
      `SELECT count(*) FILTER (WHERE original_bytes IS NULL) AS matching,
         count(*) FILTER (WHERE original_bytes IS NOT NULL) AS truncated,
         to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS "asOf"
       FROM ${this.#table} WHERE ${condition}`,
      params,
    );
    return row ?? { matching: 0, truncated: 0, asOf: '' };
  }

  /**
   * A page of the groups of all failed messages, those with the newest message first; `after` is the newest message of
   * the last group of the page before, which stays stored when it succeeds and its group is gone. Each page reads the
   * index of all failed messages, and of each of its groups one message.
   */
  groups(after: string | undefined, limit: number): Promise<ErrorGroup[]> {
    return this.#database.longRunning.query(
      `WITH groups AS (
         SELECT error_group, count(*) FILTER (WHERE status = 'dead') AS dead,
           count(*) FILTER (WHERE status = 'retrying') AS retrying, min(received_at) AS oldest,
           max(received_at) AS newest
         FROM ${this.#table} WHERE ${FAILED} GROUP BY error_group
       ), page AS (
         SELECT COALESCE(error_group, '${NO_GROUP}') AS id, * FROM groups
         WHERE $1::uuid IS NULL OR (newest, COALESCE(error_group, '${NO_GROUP}')) <
           (SELECT received_at, COALESCE(error_group, '${NO_GROUP}') FROM ${this.#table} WHERE message_id = $1)
         ORDER BY newest DESC, id DESC LIMIT $2
       )
       SELECT page.id, dead, retrying, oldest, newest, message_id, type, error,
         ${this.#schema}.error_pattern(error) AS pattern
       FROM page CROSS JOIN LATERAL (
         (${this.#latestOf('error_group = page.error_group')})
         UNION ALL (${this.#latestOf('error_group IS NULL AND page.error_group IS NULL')})) AS latest
       ORDER BY newest DESC, page.id DESC`,
      [after, limit],
    );
  }

  #latestOf(group: string): string {
    return `SELECT message_id, type, error FROM ${this.#table} WHERE ${FAILED} AND ${group}
      ORDER BY received_at DESC, message_id DESC LIMIT 1`;
  }

  /** Counts the messages that this run has retried, and that no other run has retried since. */
  async progress(run: string): Promise<RunProgress> {
    const [row] = await this.#database.longRunning.query<RunProgress>(
      `SELECT count(*) FILTER (WHERE status IN ('pending', 'retrying')) AS waiting,
         count(*) FILTER (WHERE status = 'done') AS succeeded, count(*) FILTER (WHERE status = 'dead') AS failed
       FROM ${this.#table} WHERE retry_run = $1`,
      [run],
    );
    return row ?? { waiting: 0, succeeded: 0, failed: 0 };
  }
}
