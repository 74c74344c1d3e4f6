// The outbox: an event is a row, written in the transaction that caused it. So an event leaves if and only if its cause
// was committed. The relay (relay.ts) publishes the rows.
import type { Database, Queryable, Transaction } from '../database/port.ts';

/** Where a row goes. One being away does not hold up the other. */
export type Channel = 'bus' | 'user';

/** A row that a relay has claimed. */
export interface ClaimedRow {
  readonly position: number;
  readonly event_id: string;
  readonly type: string;
  /** The order's id; for channel `user` the user's. */
  readonly subject: string;
  readonly time: Date;
  /** JSON. */
  readonly data: string;
  readonly failures: number;
}

export class Outbox {
  readonly #table: string;
  readonly #listeners: Record<Channel, (() => void)[]> = { bus: [], user: [] };

  /** `schema` is the service's; it holds the table. */
  constructor(schema: string) {
    this.#table = `${schema}.outbox`;
  }

  /**
   * Writes the events that effects' rows tell of, in the transaction that caused them or was asked for them again: the
   * same id, time and data each time. `answers` is a SELECT of (event_id, type, subject, time, data) whose $1 is
   * `subjects` (uuid[]). The relay is woken once it is committed.
   */
  async answer(tx: Transaction, answers: string, subjects: readonly string[]): Promise<void> {
    await tx.execute(
      `INSERT INTO ${this.#table} (channel, event_id, type, subject, time, data)
       SELECT 'bus', a.event_id, a.type, a.subject, a.time, a.data FROM (${answers}) AS a`,
      [subjects],
    );
    tx.afterCommit(() => this.wake('bus'));
  }

  /** Says that rows were committed. A wake-up that gets lost costs the relay's poll interval, nothing else. */
  wake(channel: Channel): void {
    for (const listener of this.#listeners[channel]) listener();
  }

  onWake(channel: Channel, listener: () => void): void {
    this.#listeners[channel].push(listener);
  }

  /**
   * The relay's turn: deletes what was published, and claims what is due, for `leaseMs`. One statement, so that no
   * transaction stays open while the network is waited for. Rows that another relay has locked are passed over.
   */
  async turnOver(
    database: Queryable,
    channel: Channel,
    published: readonly number[],
    leaseMs: number,
    limit: number,
  ): Promise<ClaimedRow[]> {
    const rows = await database.query<ClaimedRow>(
      `WITH published AS (DELETE FROM ${this.#table} WHERE position = ANY($1::bigint[]))
       UPDATE ${this.#table} SET claimed_until = now() + $2::integer * interval '1 ms'
       WHERE position IN (
         SELECT position FROM ${this.#table} WHERE channel = $3 AND claimed_until <= now()
         ORDER BY position LIMIT $4 FOR UPDATE SKIP LOCKED)
       RETURNING position, event_id, type, subject, time, data, failures`,
      [published, leaseMs, channel, limit],
    );
    return rows.sort((a, b) => a.position - b.position);
  }

  /** Gives rows back that could not be published; they are due again after their delay. */
  async release(
    database: Queryable,
    rows: readonly { position: number; delayMs: number; error: string }[],
  ): Promise<void> {
    await database.execute(
      `UPDATE ${this.#table} AS o
       SET claimed_until = now() + r."delayMs" * interval '1 ms', failures = failures + 1, error = r.error
       FROM json_to_recordset($1::json) AS r (position bigint, "delayMs" integer, error text)
       WHERE o.position = r.position`,
      [JSON.stringify(rows)],
    );
  }

  /** Rows waiting, claimed ones included. */
  async size(database: Database, channel: Channel): Promise<number> {
    const [row] = await database.query<{ size: number }>(
      `SELECT count(*) AS size FROM ${this.#table} WHERE channel = $1`,
      [channel],
    );
    return row?.size ?? 0;
  }
}
