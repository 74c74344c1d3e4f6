// The SQL of the inbox: messages are received, claimed, and done or failed. If a message that was processed before
// (status 'done' or 'dead') arrives again, its reply is resent, and its row keeps its status, error and attempts.
import type { Queryable, Transaction } from '../database/port.ts';
import { countSome } from '../database/sql.ts';
import { insertAttempts, PRUNE_BATCH } from './attempts.ts';
import { MAX_STORED_BYTES, type NewMessage } from './envelope.ts';
import type { DeadMessage } from './handler.ts';

/** A row that this process has claimed. */
export interface ClaimedMessage {
  readonly message_id: string;
  readonly type: string | null;
  readonly subject: string | null;
  readonly status: 'pending' | 'retrying' | 'done' | 'dead';
  readonly body: Uint8Array | null;
  /**
   * Attempts, including the one that begins now: to process the message, or to resend the reply of a done or dead one.
   */
  readonly attempts: number;
}

/** A failed attempt. */
export interface Failure {
  readonly status: 'retrying' | 'dead';
  readonly error: string;
  /** Until the next attempt. */
  readonly delayMs: number;
  /** The number of the attempt that failed, from 1. */
  readonly attempt: number;
  /** How long the attempt took; undefined if that is not known, or if it never began. */
  readonly durationMs: number | undefined;
  /** The id of the event that reports it, if one does. */
  readonly failureId: string | undefined;
  /** The body is unreadable, or its type is none that this service handles. */
  readonly unreadable: boolean;
}

/** A failed attempt at resending a reply. */
type ReplyFailure = Pick<Failure, 'error' | 'delayMs' | 'attempt' | 'durationMs'>;

/** The newest unreadable messages are kept: a flood of them must not fill the disk. */
export const MAX_UNREADABLE = 1_000;

const UNPROCESSED = "status IN ('pending', 'retrying')";
const WAITING = `(${UNPROCESSED} OR reply_requested)`;

export class InboxStore {
  readonly #schema: string;
  readonly #table: string;
  /** The query for the time of the next row for claimDue(). */
  readonly nextDue: string;
  /** The query for the time of the next row for claimUnfinished(): it is due, and its lease has expired. */
  readonly nextUnfinished: string;

  /** `schema` is one of our own names, never input. */
  constructor(schema: string) {
    this.#schema = schema;
    this.#table = `${schema}.inbox`;
    this.nextDue = `SELECT min(next_attempt_at) AS due FROM ${this.#table} WHERE ${WAITING} AND claimed_until IS NULL`;
    this.nextUnfinished = `SELECT min(GREATEST(claimed_until, next_attempt_at)) AS due FROM ${this.#table}
      WHERE ${WAITING} AND claimed_until IS NOT NULL`;
  }

  /**
   * Stores messages that arrived, claimed for `leaseMs` (0: unclaimed). If a message was processed before, requests
   * that its reply be resent; a readable copy replaces an unreadable one. Returns the ids of the messages to be
   * processed.
   */
  add(database: Queryable, messages: readonly NewMessage[], leaseMs: number): Promise<Set<string>> {
    return this.#add(database, messages, leaseMs > 0 ? { attempts: 1, leaseMs } : { attempts: 0, leaseMs: null });
  }

  /** Stores messages as add() does, for claimUnfinished() alone, with none of their attempts used. */
  addUnfinished(database: Queryable, messages: readonly NewMessage[]): Promise<Set<string>> {
    return this.#add(database, messages, { attempts: 0, leaseMs: 0 });
  }

  async #add(
    database: Queryable,
    messages: readonly NewMessage[],
    { attempts, leaseMs }: { attempts: 0 | 1; leaseMs: number | null },
  ): Promise<Set<string>> {
    const rows = await database.query<{ message_id: string; is_new: boolean }>(
      `INSERT INTO ${this.#table} AS i (message_id, type, subject, status, body, attempts, claimed_until)
       SELECT "messageId", type, subject, 'pending', convert_to(body, 'UTF8'),
         $2::integer, now() + $3::integer * interval '1 ms'
       FROM json_to_recordset($1::json) AS r ("messageId" uuid, type text, subject uuid, body text)
       ON CONFLICT (message_id) DO UPDATE
         SET reply_requested = NOT i.unreadable, unreadable = false,
             original_bytes = CASE WHEN i.unreadable THEN NULL ELSE i.original_bytes END,
             next_attempt_at = CASE WHEN i.reply_requested THEN i.next_attempt_at ELSE now() END,
             reply_attempts = CASE WHEN i.reply_requested THEN i.reply_attempts ELSE 0 END,
             status = CASE WHEN i.unreadable THEN 'pending' ELSE i.status END,
             body = CASE WHEN i.unreadable THEN excluded.body ELSE i.body END,
             type = CASE WHEN i.unreadable THEN excluded.type ELSE i.type END,
             subject = CASE WHEN i.unreadable THEN excluded.subject ELSE i.subject END,
             attempts = CASE WHEN i.unreadable THEN excluded.attempts ELSE i.attempts END,
             corrected = CASE WHEN i.unreadable THEN NULL ELSE i.corrected END,
             discarded_at = CASE WHEN i.unreadable THEN NULL ELSE i.discarded_at END,
             discard_reason = CASE WHEN i.unreadable THEN NULL ELSE i.discard_reason END,
             claimed_until = CASE WHEN i.unreadable THEN excluded.claimed_until ELSE i.claimed_until END
         WHERE i.status IN ('done', 'dead')
       RETURNING message_id, status = 'pending' AS is_new`,
      [rowsOf(messages, text), attempts, leaseMs],
    );
    return idsOf(rows.filter(({ is_new }) => is_new));
  }

  /**
   * Claims due rows for `leaseMs`. The attempt is counted now, before the handler starts, so that a message that ends
   * the process has a last attempt, too.
   */
  claimDue(database: Queryable, leaseMs: number, limit: number): Promise<ClaimedMessage[]> {
    return this.#claim(database, 'claimed_until IS NULL', [leaseMs, limit]);
  }

  /** Claims one row whose last attempt did not finish. Rows among `running` are only slow. */
  claimUnfinished(database: Queryable, leaseMs: number, running: readonly string[]): Promise<ClaimedMessage[]> {
    return this.#claim(database, 'claimed_until < now() AND message_id <> ALL($3::uuid[])', [leaseMs, 1, running]);
  }

  /** `params`: the lease in milliseconds, the maximum number of rows, and those of `condition`. */
  #claim(database: Queryable, condition: string, params: readonly unknown[]): Promise<ClaimedMessage[]> {
    return database.query(
      `UPDATE ${this.#table}
       SET claimed_until = now() + $1::integer * interval '1 ms',
           attempts = attempts + CASE WHEN ${UNPROCESSED} THEN 1 ELSE 0 END,
           reply_attempts = reply_attempts + CASE WHEN ${UNPROCESSED} THEN 0 ELSE 1 END
       WHERE message_id = ANY (ARRAY(
         SELECT message_id FROM ${this.#table}
         WHERE ${WAITING} AND next_attempt_at <= now() AND ${condition}
         ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED))
       RETURNING message_id, type, subject, status, COALESCE(corrected, body) AS body,
         CASE WHEN ${UNPROCESSED} THEN attempts ELSE reply_attempts END AS attempts`,
      params,
    );
  }

  /** Counts the rows that are due and not claimed by any process, up to countSome's limit. */
  countDue(database: Queryable): Promise<number> {
    return countSome(
      database,
      `${this.#table}
       WHERE ${WAITING} AND next_attempt_at <= now() AND (claimed_until IS NULL OR claimed_until < now())`,
    );
  }

  /**
   * Adds, with the status `done`, messages that have no row yet, in the transaction that writes their effects. The
   * `handled_at` of a new row stays null: the message is handled when it is received. Returns the ids that were
   * unknown, or known only from an unreadable copy.
   */
  async addDone(tx: Transaction, messages: readonly NewMessage[]): Promise<Set<string>> {
    if (messages.length === 0) return new Set();
    const rows = await tx.query<{ message_id: string }>(
      `INSERT INTO ${this.#table} AS i (message_id, type, subject, status, attempts, next_attempt_at)
       SELECT "messageId", type, subject, 'done', 1, NULL
       FROM json_to_recordset($1::json) AS r ("messageId" uuid, type text, subject uuid)
       ON CONFLICT (message_id) DO UPDATE
         SET status = 'done', unreadable = false, body = NULL, original_bytes = NULL, error = NULL, failure_id = NULL,
             corrected = NULL, discarded_at = NULL, discard_reason = NULL,
             type = excluded.type, subject = excluded.subject, reply_requested = false, reply_attempts = 0,
             reply_error = NULL, claimed_until = NULL, handled_at = now()
         WHERE i.unreadable
       RETURNING message_id`,
      [rowsOf(messages)],
    );
    return idsOf(rows);
  }

  /**
   * Marks claimed rows done, in the transaction that writes their effects. Returns the ids that no other process has
   * processed since they were claimed. A message with a corrected copy keeps both for its retention.
   */
  async markDone(tx: Transaction, messages: readonly NewMessage[]): Promise<Set<string>> {
    if (messages.length === 0) return new Set();
    const rows = await tx.query<{ message_id: string }>(
      `UPDATE ${this.#table}
       SET status = 'done', unreadable = false, body = CASE WHEN corrected IS NOT NULL THEN body END, error = NULL,
           claimed_until = NULL,
           reply_requested = false, reply_attempts = 0, reply_error = NULL, handled_at = now()
       WHERE message_id = ANY($1::uuid[]) AND ${UNPROCESSED}
       RETURNING message_id`,
      [messages.map(({ messageId }) => messageId)],
    );
    return idsOf(rows);
  }

  /** The rows of messages that arrived again. */
  known(tx: Transaction, ids: readonly string[]) {
    return tx.query<Pick<ClaimedMessage, 'message_id' | 'type' | 'subject' | 'status'>>(
      `SELECT message_id, type, subject, status FROM ${this.#table} WHERE message_id = ANY($1::uuid[])`,
      [ids],
    );
  }

  /**
   * Records a message that failed at its first attempt or is unreadable. Returns false, and changes nothing, if the
   * message is known.
   */
  async addFailed(tx: Transaction, message: NewMessage, failure: Failure): Promise<boolean> {
    const { messageId, type, subject, originalBytes } = message;
    const { status, error, delayMs, failureId, unreadable, durationMs } = failure;
    const body = Buffer.from(message.body).toString('base64');
    const params = [messageId, type, subject, status, body, error, delayMs, failureId, unreadable, originalBytes];
    const insert = `INSERT INTO ${this.#table}
        (message_id, type, subject, status, body, attempts, error, next_attempt_at, failure_id, unreadable,
         original_bytes, handled_at, error_group, dead_since)
      VALUES ($1, $2, $3, $4, decode($5, 'base64'), 1, $6, now() + $7::integer * interval '1 ms', $8, $9, $10, now(),
        ${this.#schema}.error_group($2, $6), CASE $4 WHEN 'dead' THEN now() END)
      ON CONFLICT (message_id) DO NOTHING`;
    if (unreadable) return (await tx.execute(insert, params)) > 0;
    const added = await tx.query(
      `WITH added AS (${insert} RETURNING *),
         attempted AS (${this.#insertAttempts({ attempt: '1', durationMs: '$11::integer' }, 'added')})
       SELECT message_id FROM added`,
      [...params, durationMs],
    );
    return added.length > 0;
  }

  /** Ends a failed attempt at a claimed row. */
  async fail(tx: Transaction, id: string, failure: Failure): Promise<void> {
    const { status, error, delayMs, failureId, unreadable, attempt, durationMs } = failure;
    await tx.execute(
      `WITH failed AS (
         UPDATE ${this.#table}
         SET status = $2, error = $3, next_attempt_at = now() + $4::integer * interval '1 ms', failure_id = $5,
             unreadable = $6, claimed_until = NULL, handled_at = now(),
             error_group = ${this.#schema}.error_group(type, $3), dead_since = CASE $2 WHEN 'dead' THEN now() END,
             original_bytes = CASE WHEN octet_length(body) > ${MAX_STORED_BYTES} THEN octet_length(body)
               ELSE original_bytes END,
             body = substring(body FROM 1 FOR ${MAX_STORED_BYTES})
         WHERE message_id = $1 AND ${UNPROCESSED}
         RETURNING *
       ) ${this.#insertAttempts({ attempt: '$7::integer', durationMs: '$8::integer' }, 'failed')}`,
      [id, status, error, delayMs, failureId, unreadable, attempt, durationMs],
    );
  }

  /** An INSERT of the failed attempts at the messages of the CTE `failed`, which are rows of the inbox. */
  #insertAttempts({ attempt, durationMs }: { attempt: string; durationMs: string }, failed: string): string {
    const row = { subject: 'subject', messageId: 'message_id', type: 'type', outcome: 'status', error: 'error' };
    const from = `${failed} WHERE NOT unreadable`;
    return insertAttempts(this.#schema, { ...row, attempt, durationMs, reportId: 'failure_id' }, from);
  }

  /** The same of the failed attempts at the replies to those messages, whose rows have the error of the reply. */
  #insertReplyAttempts(outcome: string, { attempt, durationMs }: { attempt: string; durationMs: string }): string {
    const row = { subject: 'subject', messageId: 'message_id', type: 'type', outcome, error: 'reply_error' };
    return insertAttempts(this.#schema, { ...row, attempt, durationMs }, 'failed');
  }

  /**
   * The dead messages among these that an event reports. Errors may name hosts, tables or paths, so they stay here: the
   * event carries only the kind of failure.
   */
  reported(tx: Transaction, ids: readonly string[]): Promise<DeadMessage[]> {
    return tx.query(
      `SELECT message_id AS "messageId", type, subject, failure_id AS "reportId", handled_at AS at,
         CASE WHEN unreadable THEN 'the message is unreadable' ELSE 'the message was not handled' END AS failure
       FROM ${this.#table} WHERE message_id = ANY($1::uuid[]) AND failure_id IS NOT NULL AND status = 'dead'`,
      [ids],
    );
  }

  /**
   * Has the worker resend the reply, because it could not be resent in the transaction of the arrival. Returns false if
   * the message was not processed before.
   */
  async requestReply(database: Queryable, id: string, failure: ReplyFailure): Promise<boolean> {
    const { error, delayMs, attempt, durationMs } = failure;
    const requested = await database.query(
      `WITH failed AS (
         UPDATE ${this.#table}
         SET reply_requested = true, reply_error = $2,
             reply_attempts = CASE WHEN reply_requested THEN reply_attempts ELSE 0 END,
             next_attempt_at = CASE WHEN reply_requested THEN next_attempt_at
               ELSE now() + $3::integer * interval '1 ms' END
         WHERE message_id = $1 AND status IN ('done', 'dead')
         RETURNING *
       ), attempted AS (
         ${this.#insertReplyAttempts("'reply-retrying'", { attempt: '$4::integer', durationMs: '$5::integer' })}
       )
       SELECT message_id FROM failed`,
      [id, error, delayMs, attempt, durationMs],
    );
    return requested.length > 0;
  }

  /** Ends a failed attempt. After the last one, the reply is not resent until the message arrives again. */
  async failReply(database: Queryable, id: string, failure: ReplyFailure & { isLast: boolean }): Promise<void> {
    const { error, delayMs, isLast, attempt, durationMs } = failure;
    const outcome = "CASE WHEN reply_requested THEN 'reply-retrying' ELSE 'reply-dead' END";
    await database.execute(
      `WITH failed AS (
         UPDATE ${this.#table}
         SET reply_requested = NOT $4::boolean, reply_error = $2,
             next_attempt_at = now() + $3::integer * interval '1 ms', claimed_until = NULL
         WHERE message_id = $1 AND status IN ('done', 'dead')
         RETURNING *
       ) ${this.#insertReplyAttempts(outcome, { attempt: '$5::integer', durationMs: '$6::integer' })}`,
      [id, error, delayMs, isLast, attempt, durationMs],
    );
  }

  /** Ends successful attempts. A message that an operator has retried meanwhile keeps the claim of its new attempt. */
  async completeReplies(tx: Transaction, ids: readonly string[]): Promise<void> {
    await tx.execute(
      `UPDATE ${this.#table}
       SET reply_requested = false, claimed_until = NULL, reply_attempts = 0, reply_error = NULL
       WHERE message_id = ANY($1::uuid[]) AND status IN ('done', 'dead')`,
      [ids],
    );
  }

  /**
   * Restarts the retention of discarded messages that arrive again, once an hour at most: their sender still resends
   * them, and a message that has been pruned would be handled as a new one.
   */
  async keepDiscarded(tx: Transaction, ids: readonly string[]): Promise<void> {
    await tx.execute(
      `UPDATE ${this.#table} SET dead_since = now()
       WHERE message_id = ANY($1::uuid[]) AND discarded_at IS NOT NULL AND dead_since < now() - interval '1 hour'`,
      [ids],
    );
  }

  /**
   * Deletes done messages that arrived, and were last retried by an operator, more than `retentionDays` days ago, at most
   * PRUNE_BATCH. Returns how many.
   */
  pruneDone(database: Queryable, retentionDays: number): Promise<number> {
    return database.execute(
      `DELETE FROM ${this.#table} WHERE message_id = ANY (ARRAY(
         SELECT message_id FROM ${this.#table}
         WHERE status = 'done' AND NOT reply_requested AND received_at < now() - $1::integer * interval '1 day'
           AND (retry_run IS NULL OR handled_at < now() - $1::integer * interval '1 day')
         LIMIT $2))`,
      [retentionDays, PRUNE_BATCH],
    );
  }

  /** Deletes messages that have been dead, discarded or not, for `retentionDays` days, at most PRUNE_BATCH. */
  async pruneDead(database: Queryable, retentionDays: number): Promise<number> {
    // Those that a process of an earlier version has marked dead since the upgrade.
    await database.execute(
      `UPDATE ${this.#table} SET dead_since = now() WHERE message_id = ANY (ARRAY(
         SELECT message_id FROM ${this.#table} WHERE status = 'dead' AND dead_since IS NULL LIMIT $1))`,
      [PRUNE_BATCH],
    );
    const isOver = `status = 'dead' AND dead_since < now() - $1::integer * interval '1 day'`;
    return database.execute(
      // The outer condition again: meanwhile an operator may have retried the message, or it may have arrived again.
      `DELETE FROM ${this.#table} WHERE ${isOver} AND message_id = ANY (ARRAY(
         SELECT message_id FROM ${this.#table} WHERE ${isOver} ORDER BY dead_since LIMIT $2))`,
      [retentionDays, PRUNE_BATCH],
    );
  }

  /** Deletes the oldest unreadable messages beyond MAX_UNREADABLE, at most PRUNE_BATCH. Returns how many. */
  pruneUnreadable(database: Queryable): Promise<number> {
    return database.execute(
      // The outer condition again: a readable copy may have replaced the row meanwhile.
      `DELETE FROM ${this.#table} WHERE unreadable AND status = 'dead' AND message_id = ANY (ARRAY(
         SELECT message_id FROM ${this.#table} WHERE unreadable AND status = 'dead'
         ORDER BY received_at DESC, message_id DESC OFFSET $1 LIMIT $2))`,
      [MAX_UNREADABLE, PRUNE_BATCH],
    );
  }
}

const idsOf = (rows: readonly { readonly message_id: string }[]) => new Set(rows.map(({ message_id }) => message_id));

/**
 * The rows as JSON, one for each id. Sorted, because two processes that write the same ids in opposite order deadlock.
 */
function rowsOf(messages: readonly NewMessage[], textOf?: (body: Uint8Array) => string): string {
  const rows = new Map<string, object>();
  for (const { messageId, type, subject, body } of messages)
    rows.set(messageId, { messageId, type, subject, body: textOf?.(body) });
  return JSON.stringify([...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row));
}

/** Only bodies of readable events come here, so they are UTF-8. */
const text = (body: Uint8Array) => Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString();
