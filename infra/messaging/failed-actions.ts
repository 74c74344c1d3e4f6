// What operators decide about failed messages: retry, retry with corrected data, discard. Each decision is one
// statement, which also records it (infra/operators), so neither is stored without the other.
import type { Database } from '../database/port.ts';
import { actionParam, type OperatorAction, recordAction } from '../operators/operator-actions.ts';
import { type FailedFilter, selection } from './failed-selection.ts';

/** An operator, and the request. */
export type Decision = Pick<OperatorAction, 'actor' | 'service'>;

/** The data of an event as an operator has corrected it. */
export interface Correction {
  /** The whole event, as JSON. */
  readonly event: string;
  /** Its data before and after, for the record. */
  readonly before: unknown;
  readonly after: unknown;
}

interface RetryOptions {
  readonly limit: number;
  /** A UUID; each run retries a message once. */
  readonly run: string;
  /** What the record shows of the request. */
  readonly details: object;
}

/** A fresh set of attempts, due at once. A claim of a dead message is only one to resend its reply. */
const RETRY = `status = 'retrying', attempts = 0, next_attempt_at = now(), claimed_until = NULL, handled_at = now(),
  discarded_at = NULL, discard_reason = NULL, reply_requested = false, reply_attempts = 0, reply_error = NULL`;

/** It is retried, and no attempt is under way. */
const FREE = `status = 'retrying' AND (claimed_until IS NULL OR claimed_until <= now())`;

/** What a record shows of a message. `more`: further names and values. */
const summary = (more = '') =>
  `json_build_object('status', CASE WHEN discarded_at IS NOT NULL THEN 'discarded' ELSE status END,
     'attempts', attempts, 'error', error, 'reason', discard_reason${more})`;

export class FailedActions {
  readonly #database: Pick<Database, 'longRunning'>;
  readonly #table: string;

  constructor(database: Pick<Database, 'longRunning'>, schema: string) {
    this.#database = database;
    this.#table = `${schema}.inbox`;
  }

  /**
   * Retries messages that match, the oldest first, and that `run` has not retried. Skips truncated ones, locked rows, and
   * messages with an attempt under way: FailedMessages.count() still counts the latter two. Returns how many were
   * retried.
   */
  async retryMany(filter: FailedFilter, { limit, run, details }: RetryOptions, decision: Decision): Promise<number> {
    const { condition, params } = selection({ ...filter, notOfRun: run });
    const next = params.length + 1;
    const action = actionParam({ ...decision, action: 'failed-messages.retry', details, run });
    const counted = (status: string) => `NULLIF(count(*) FILTER (WHERE chosen.status = '${status}'), 0)`;
    const [row] = await this.#database.longRunning.query<{ retried: number }>(
      `WITH chosen AS (
         SELECT message_id, status FROM ${this.#table} WHERE ${condition} AND original_bytes IS NULL
           AND (status = 'dead' OR ${FREE})
         ORDER BY received_at, message_id LIMIT $${next} FOR UPDATE SKIP LOCKED
       ), changed AS (
         UPDATE ${this.#table} SET ${RETRY}, retry_run = $${next + 1}
         WHERE message_id = ANY (ARRAY(SELECT message_id FROM chosen))
         RETURNING message_id
       ), counted AS (
         SELECT count(*) AS retried, json_build_object('retrying', count(*)) AS after,
           json_strip_nulls(json_build_object('dead', ${counted('dead')}, 'retrying', ${counted('retrying')})) AS before
         FROM changed JOIN chosen USING (message_id) HAVING count(*) > 0
       ), recorded AS (${recordAction(next + 2, 'counted')})
       SELECT retried FROM counted`,
      [...params, limit, run, action],
    );
    return row?.retried ?? 0;
  }

  /**
   * Retries one message, also a discarded one. Returns false if it is truncated, is being attempted, or is neither
   * retrying nor dead.
   */
  retryOne(id: string, run: string, decision: Decision): Promise<boolean> {
    const action = { ...decision, action: 'failed-message.retry', target: id, details: { run } };
    return this.#change({
      id,
      action,
      condition: `(status = 'dead' OR ${FREE}) AND original_bytes IS NULL`,
      effect: `${RETRY}, retry_run = $3`,
      params: [run],
    });
  }

  /**
   * Retries a dead message with other data. Returns false if it is not dead: an attempt at the original may be under
   * way.
   */
  correct(id: string, { event, before, after }: Correction, run: string, decision: Decision): Promise<boolean> {
    const action = { ...decision, action: 'failed-message.correct', target: id, details: { run } };
    return this.#change({
      id,
      action,
      condition: `status = 'dead' AND original_bytes IS NULL`,
      effect: `${RETRY}, retry_run = $3, corrected = convert_to($4, 'UTF8')`,
      params: [run, event, JSON.stringify(before ?? null), JSON.stringify(after)],
      before: `, 'data', $5::json`,
      after: `, 'data', $6::json`,
    });
  }

  /** Discards a dead message, or gives a discarded one another reason. Returns false if there is nothing to change. */
  discard(id: string, reason: string, decision: Decision): Promise<boolean> {
    const action = { ...decision, action: 'failed-message.discard', target: id, details: { reason } };
    return this.#change({
      id,
      action,
      condition: `status = 'dead' AND discard_reason IS DISTINCT FROM $3`,
      effect: 'discarded_at = now(), discard_reason = $3',
      params: [reason],
    });
  }

  /** Changes one message. `params` are $3 and on; `before` and `after` add to what the record shows. */
  async #change(change: {
    readonly id: string;
    readonly action: OperatorAction;
    readonly condition: string;
    readonly effect: string;
    readonly params: readonly unknown[];
    readonly before?: string;
    readonly after?: string;
  }): Promise<boolean> {
    const { id, action, condition, effect, params, before, after } = change;
    const rows = await this.#database.longRunning.query(
      `WITH chosen AS (
         SELECT message_id, ${summary(before)} AS before FROM ${this.#table}
         WHERE message_id = $1 AND ${condition} FOR UPDATE
       ), changed AS (
         UPDATE ${this.#table} SET ${effect} WHERE message_id = ANY (ARRAY(SELECT message_id FROM chosen))
         RETURNING message_id, ${summary(after)} AS after
       ), recorded AS (${recordAction(2, '(SELECT before, after FROM chosen JOIN changed USING (message_id))')})
       SELECT FROM changed`,
      [id, actionParam(action), ...params],
    );
    return rows.length > 0;
  }
}
