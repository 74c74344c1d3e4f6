// The SQL of replies that are to be resent: a message that was processed before (status 'done' or 'dead') arrived again.
// What its row says about its own processing does not change.
import type { Queryable, Transaction } from '../database/port.ts';

/** A failed attempt at resending a reply. */
export interface ReplyFailure {
  readonly error: string;
  /** Until the next attempt. */
  readonly delayMs: number;
}

export class ReplyStore {
  readonly #table: string;

  /** `schema` is one of our own names, never input. */
  constructor(schema: string) {
    this.#table = `${schema}.inbox`;
  }

  /**
   * Has the row resend the reply, because it could not be resent in the transaction of the arrival. Returns false if the
   * message was not processed before.
   */
  async request(database: Queryable, id: string, { error, delayMs }: ReplyFailure): Promise<boolean> {
    const requested = await database.execute(
      `UPDATE ${this.#table}
       SET reply_requested = true, reply_error = $2,
           reply_attempts = CASE WHEN reply_requested THEN reply_attempts ELSE 0 END,
           next_attempt_at = CASE WHEN reply_requested THEN next_attempt_at ELSE now() + $3::integer * interval '1 ms' END
       WHERE message_id = $1 AND status IN ('done', 'dead')`,
      [id, error, delayMs],
    );
    return requested > 0;
  }

  /** Ends a failed attempt; the last one ends the request, until the message arrives once more. */
  async fail(database: Queryable, id: string, failure: ReplyFailure & { readonly isLast: boolean }): Promise<void> {
    await database.execute(
      `UPDATE ${this.#table}
       SET reply_requested = NOT $4::boolean, reply_error = $2, next_attempt_at = now() + $3::integer * interval '1 ms',
           claimed_until = NULL
       WHERE message_id = $1 AND status IN ('done', 'dead')`,
      [id, failure.error, failure.delayMs, failure.isLast],
    );
  }

  /** Ends successful attempts. A message that was retried meanwhile keeps its claim: the claim is that of its attempt. */
  async complete(tx: Transaction, ids: readonly string[]): Promise<void> {
    await tx.execute(
      `UPDATE ${this.#table}
       SET reply_requested = false, claimed_until = NULL, reply_attempts = 0, reply_error = NULL
       WHERE message_id = ANY($1::uuid[]) AND status IN ('done', 'dead')`,
      [ids],
    );
  }
}
