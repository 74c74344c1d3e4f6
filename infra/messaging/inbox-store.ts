// The inbox's SQL. `schema` is one of our own names, never input.
import { MAX_EVENT_BYTES } from '../bus/port.ts';
import type { Queryable, Transaction } from '../database/port.ts';
import { countSome } from '../database/sql.ts';
import type { DeadMessage } from './handler.ts';

/** A row that this process has claimed. */
export interface ClaimedMessage {
  readonly message_id: string;
  readonly type: string | null;
  readonly subject: string | null;
  readonly status: 'pending' | 'retrying' | 'done' | 'dead';
  readonly body: Uint8Array | null;
  /** At handling it or, of a message that was handled, at sending its reply again; including the one that begins now. */
  readonly attempts: number;
}

export interface NewMessage {
  readonly messageId: string;
  readonly type: string | undefined;
  readonly subject: string | undefined;
  /** At most MAX_STORED_BYTES. */
  readonly body: Uint8Array;
  /** Of a message of which `body` is only the beginning: its size. */
  readonly originalBytes?: number | undefined;
}

/** As much of a body as is stored. An event has no more, so what is longer is unreadable. */
export const MAX_STORED_BYTES = MAX_EVENT_BYTES;

/** How an attempt at sending a reply again failed. */
export interface ReplyFailure {
  readonly error: string;
  /** Until the next attempt. */
  readonly delayMs: number;
  /** There is no next attempt, until the message arrives once more. */
  readonly isLast: boolean;
}

/** How an attempt failed. */
export interface Failure {
  readonly status: 'retrying' | 'dead';
  readonly error: string;
  /** Until the next attempt. */
  readonly delayMs: number;
  /** The id of the event that reports it, where one does. */
  readonly failureId: string | undefined;
  /** Nobody could read the body, or it is of no type that this service handles. */
  readonly unreadable: boolean;
}

/** A message that was not handled yet; of any other one only the reply is wanted. */
const UNHANDLED = "status IN ('pending', 'retrying')";
const WAITING = "(status IN ('pending', 'retrying') OR asked_again)";

export class InboxStore {
  readonly #table: string;

  constructor(schema: string) {
    this.#table = `${schema}.inbox`;
  }

  /**
   * Marks arrivals as done, before their effects in the same transaction. Returns the ids that were not known, or known
   * only from a copy that nobody could read.
   */
  async takeArrivals(tx: Transaction, messages: readonly NewMessage[]): Promise<Set<string>> {
    if (messages.length === 0) return new Set();
    const once = new Map(
      messages.map(({ messageId, type, subject }) => [messageId, { messageId, type, subject }] as const),
    );
    const rows = await tx.query<{ message_id: string }>(
      `INSERT INTO ${this.#table} AS i (message_id, type, subject, status, attempts, handled_at)
       SELECT "messageId", type, subject, 'done', 1, now()
       FROM json_to_recordset($1::json) AS r ("messageId" uuid, type text, subject uuid)
       ON CONFLICT (message_id) DO UPDATE
         SET status = 'done', unreadable = false, body = NULL, original_bytes = NULL, error = NULL, failure_id = NULL,
             type = excluded.type, subject = excluded.subject, asked_again = false, reply_attempts = 0, reply_error = NULL,
             claimed_until = NULL, handled_at = now()
         WHERE i.unreadable
       RETURNING message_id`,
      [JSON.stringify([...once.values()])],
    );
    return new Set(rows.map(({ message_id }) => message_id));
  }

  /** The same for claimed rows. Returns the ids that nobody else has handled since they were claimed. */
  async takeRows(tx: Transaction, messages: readonly NewMessage[]): Promise<Set<string>> {
    if (messages.length === 0) return new Set();
    const rows = await tx.query<{ message_id: string }>(
      `UPDATE ${this.#table}
       SET status = 'done', unreadable = false, body = NULL, error = NULL, claimed_until = NULL, asked_again = false,
           reply_attempts = 0, reply_error = NULL, handled_at = now()
       WHERE message_id = ANY($1::uuid[]) AND status IN ('pending', 'retrying')
       RETURNING message_id`,
      [messages.map(({ messageId }) => messageId)],
    );
    return new Set(rows.map(({ message_id }) => message_id));
  }

  /** Of messages that arrived again: what their rows know. */
  known(
    tx: Transaction,
    ids: readonly string[],
  ): Promise<Pick<ClaimedMessage, 'message_id' | 'type' | 'subject' | 'status'>[]> {
    return tx.query(`SELECT message_id, type, subject, status FROM ${this.#table} WHERE message_id = ANY($1::uuid[])`, [
      ids,
    ]);
  }

  /**
   * Keeps messages to be handled soon, claimed for `leaseMs` (0: for whoever comes first). One that is known already is
   * marked as asked for again; one that is known from a copy that nobody could read takes its place. Returns the ids of
   * those to be handled.
   */
  async add(database: Queryable, messages: readonly NewMessage[], leaseMs: number): Promise<Set<string>> {
    const once = new Map(messages.map(({ body, ...rest }) => [rest.messageId, { ...rest, body: text(body) }]));
    const rows = await database.query<{ message_id: string; inserted: boolean }>(
      `INSERT INTO ${this.#table} AS i (message_id, type, subject, status, body, attempts, claimed_until)
       SELECT "messageId", type, subject, 'pending', convert_to(body, 'UTF8'),
         CASE WHEN $2::integer > 0 THEN 1 ELSE 0 END, CASE WHEN $2::integer > 0 THEN now() + $2::integer * interval '1 ms' END
       FROM json_to_recordset($1::json) AS r ("messageId" uuid, type text, subject uuid, body text)
       ON CONFLICT (message_id) DO UPDATE
         SET asked_again = NOT i.unreadable, unreadable = false,
             original_bytes = CASE WHEN i.unreadable THEN NULL ELSE i.original_bytes END,
             next_attempt_at = CASE WHEN i.asked_again THEN i.next_attempt_at ELSE now() END,
             reply_attempts = CASE WHEN i.asked_again THEN i.reply_attempts ELSE 0 END,
             status = CASE WHEN i.unreadable THEN 'pending' ELSE i.status END,
             body = CASE WHEN i.unreadable THEN excluded.body ELSE i.body END,
             type = CASE WHEN i.unreadable THEN excluded.type ELSE i.type END,
             subject = CASE WHEN i.unreadable THEN excluded.subject ELSE i.subject END,
             attempts = CASE WHEN i.unreadable THEN excluded.attempts ELSE i.attempts END,
             claimed_until = CASE WHEN i.unreadable THEN excluded.claimed_until ELSE i.claimed_until END
         WHERE i.status IN ('done', 'dead')
       RETURNING message_id, status = 'pending' AS inserted`,
      // Sorted, because two processes that write the same ids in opposite order deadlock.
      [JSON.stringify([...once.values()].sort((a, b) => (a.messageId < b.messageId ? -1 : 1))), leaseMs],
    );
    return new Set(rows.filter(({ inserted }) => inserted).map(({ message_id }) => message_id));
  }

  /**
   * Records a message that failed at its first attempt, or that was never readable. Answers false, and changes nothing,
   * if it is known already.
   */
  async addFailed(tx: Transaction, message: NewMessage, failure: Failure): Promise<boolean> {
    const added = await tx.execute(
      `INSERT INTO ${this.#table}
         (message_id, type, subject, status, body, attempts, error, next_attempt_at, failure_id, unreadable,
          original_bytes, handled_at)
       VALUES ($1, $2, $3, $4, decode($5, 'base64'), 1, $6, now() + $7::integer * interval '1 ms', $8, $9, $10, now())
       ON CONFLICT (message_id) DO NOTHING`,
      [
        message.messageId,
        message.type ?? null,
        message.subject ?? null,
        failure.status,
        Buffer.from(message.body).toString('base64'),
        failure.error,
        failure.delayMs,
        failure.failureId ?? null,
        failure.unreadable,
        message.originalBytes ?? null,
      ],
    );
    return added > 0;
  }

  /**
   * Claims due rows for `leaseMs`. The attempt is counted now, before the handler starts, so that a message that ends
   * the process does not get another attempt for ever.
   */
  claim(database: Queryable, leaseMs: number, limit: number): Promise<ClaimedMessage[]> {
    return this.#claim(database, 'claimed_until IS NULL', [leaseMs, limit]);
  }

  /**
   * Claims one row whose last attempt never finished. It is to be handled alone. An attempt that is one of `running` is
   * only slow.
   */
  async claimUnfinished(
    database: Queryable,
    leaseMs: number,
    running: readonly string[],
  ): Promise<ClaimedMessage | undefined> {
    const condition = 'claimed_until < now() AND message_id <> ALL($3::uuid[])';
    const [row] = await this.#claim(database, condition, [leaseMs, 1, running]);
    return row;
  }

  /** `params`: the lease in milliseconds, how many rows at the most, and those of `condition`. */
  #claim(database: Queryable, condition: string, params: readonly unknown[]): Promise<ClaimedMessage[]> {
    return database.query(
      `UPDATE ${this.#table}
       SET claimed_until = now() + $1::integer * interval '1 ms',
           attempts = attempts + CASE WHEN ${UNHANDLED} THEN 1 ELSE 0 END,
           reply_attempts = reply_attempts + CASE WHEN ${UNHANDLED} THEN 0 ELSE 1 END
       WHERE message_id IN (
         SELECT message_id FROM ${this.#table}
         WHERE ${WAITING} AND next_attempt_at <= now() AND ${condition}
         ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED)
       RETURNING message_id, type, subject, status, body,
         CASE WHEN ${UNHANDLED} THEN attempts ELSE reply_attempts END AS attempts`,
      params,
    );
  }

  /** Ends a failed attempt at a claimed row. */
  async fail(tx: Transaction, id: string, failure: Failure): Promise<void> {
    await tx.execute(
      `UPDATE ${this.#table}
       SET status = $2, error = $3, next_attempt_at = now() + $4::integer * interval '1 ms', failure_id = $5,
           unreadable = $6, claimed_until = NULL, handled_at = now(),
           original_bytes = CASE WHEN octet_length(body) > ${MAX_STORED_BYTES} THEN octet_length(body) ELSE original_bytes END,
           body = substring(body FROM 1 FOR ${MAX_STORED_BYTES})
       WHERE message_id = $1 AND status IN ('pending', 'retrying')`,
      [id, failure.status, failure.error, failure.delayMs, failure.failureId ?? null, failure.unreadable],
    );
  }

  /** Ends the repetition of answers. The claim on a message that was retried meanwhile is an attempt's, and stays. */
  async answered(tx: Transaction, ids: readonly string[]): Promise<void> {
    await tx.execute(
      `UPDATE ${this.#table} SET asked_again = false, claimed_until = NULL, reply_attempts = 0, reply_error = NULL
       WHERE message_id = ANY($1::uuid[]) AND status IN ('done', 'dead')`,
      [ids],
    );
  }

  /** Ends a failed attempt at sending a reply again. What is known of the message's own handling stays as it is. */
  async failReply(database: Queryable, id: string, { error, delayMs, isLast }: ReplyFailure): Promise<void> {
    await database.execute(
      `UPDATE ${this.#table}
       SET asked_again = NOT $4::boolean, reply_error = $2, next_attempt_at = now() + $3::integer * interval '1 ms',
           claimed_until = NULL
       WHERE message_id = $1 AND status IN ('done', 'dead')`,
      [id, error, delayMs, isLast],
    );
  }

  /**
   * A message that was handled before arrived again, and its reply could not be sent with it: the row will send it.
   * Answers false if the message was not handled before.
   */
  async requestReply(
    database: Queryable,
    id: string,
    { error, delayMs }: Pick<ReplyFailure, 'error' | 'delayMs'>,
  ): Promise<boolean> {
    const requested = await database.execute(
      `UPDATE ${this.#table}
       SET asked_again = true, reply_error = $2,
           reply_attempts = CASE WHEN asked_again THEN reply_attempts ELSE 0 END,
           next_attempt_at = CASE WHEN asked_again THEN next_attempt_at ELSE now() + $3::integer * interval '1 ms' END
       WHERE message_id = $1 AND status IN ('done', 'dead')`,
      [id, error, delayMs],
    );
    return requested > 0;
  }

  /** Of these messages, the dead ones that are to be reported. Their errors may name hosts, tables or paths: they stay here. */
  reported(tx: Transaction, ids: readonly string[]): Promise<DeadMessage[]> {
    return tx.query(
      `SELECT message_id AS "messageId", type, subject, failure_id AS "reportId", handled_at AS at,
         CASE WHEN unreadable THEN 'the message is unreadable' ELSE 'the message was not handled' END AS failure
       FROM ${this.#table} WHERE message_id = ANY($1::uuid[]) AND failure_id IS NOT NULL AND status = 'dead'`,
      [ids],
    );
  }

  /** Messages that are due and under way nowhere, as far as they are counted. */
  due(database: Queryable): Promise<number> {
    return countSome(
      database,
      `${this.#table}
       WHERE ${WAITING} AND next_attempt_at <= now() AND (claimed_until IS NULL OR claimed_until < now())`,
    );
  }

  /** Forgets messages that are done and were received more than `days` ago, at most `limit`. Returns how many. */
  prune(database: Queryable, days: number, limit: number): Promise<number> {
    return database.execute(
      `DELETE FROM ${this.#table} WHERE message_id IN (
         SELECT message_id FROM ${this.#table}
         WHERE status = 'done' AND NOT asked_again AND received_at < now() - $1::integer * interval '1 day' LIMIT $2)`,
      [days, limit],
    );
  }

  /** Forgets the oldest dead messages that nobody could read, but for the newest `kept`, at most `limit`. Returns how many. */
  pruneUnreadable(database: Queryable, kept: number, limit: number): Promise<number> {
    // Asked again of the row itself: meanwhile a readable copy may have taken its place.
    return database.execute(
      `DELETE FROM ${this.#table} WHERE unreadable AND status = 'dead' AND message_id IN (
         SELECT message_id FROM ${this.#table} WHERE unreadable AND status = 'dead'
         ORDER BY received_at DESC, message_id DESC OFFSET $1 LIMIT $2)`,
      [kept, limit],
    );
  }
}

/** Only what was read as an event is kept this way, so it is UTF-8. */
const text = (body: Uint8Array) => Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString();
