// The outbox: an event is a row, written in the transaction that caused it. So an event leaves if and only if its cause
// was committed. The relay (relay.ts) publishes the rows.
import { v7 as uuidv7 } from 'uuid';
import { type EventData, type EventType, MAX_EVENT_BYTES, parseEventData } from '../../contracts/events.ts';
import type { Database, Queryable, Transaction } from '../database/port.ts';

/** Where a row goes. One being away does not hold up the other. */
export type Channel = 'bus' | 'user';

/** A row to be written. `data` is JSON; `time` is set by the database where it is left out. */
export interface OutboxRow {
  readonly event_id: string;
  readonly type: string;
  readonly subject: string;
  readonly data: string;
}

/** A row that a relay has claimed. */
export interface ClaimedRow extends OutboxRow {
  readonly position: number;
  readonly time: Date;
  readonly failures: number;
}

/** An event about `subject`, checked against its schema, ready to be written. */
export function eventRow<T extends EventType>(type: T, subject: string, data: EventData<T>): OutboxRow {
  const json = JSON.stringify(parseEventData(type, data));
  if (json.length * 3 > MAX_EVENT_BYTES && Buffer.byteLength(json) > MAX_EVENT_BYTES - 1024) {
    throw new RangeError(`${type}: data of ${Buffer.byteLength(json)} bytes; an event has at most ${MAX_EVENT_BYTES}`);
  }
  return { event_id: uuidv7(), type, subject, data: json };
}

export class Outbox {
  readonly #schema: string;
  readonly #listeners: Record<Channel, (() => void)[]> = { bus: [], user: [] };

  /** `schema` is the service's; it holds the table. */
  constructor(schema: string) {
    this.#schema = schema;
  }

  /** The table's qualified name, for services that write rows within a statement of their own. */
  get table(): string {
    return `${this.#schema}.outbox`;
  }

  /** Writes rows in the caller's transaction, and wakes the relay once it is committed. */
  async add(tx: Transaction, channel: Channel, rows: readonly OutboxRow[]): Promise<void> {
    if (rows.length === 0) return;
    await tx.execute(
      `INSERT INTO ${this.table} (channel, event_id, type, subject, time, data)
       SELECT $1, event_id, type, subject, now(), data
       FROM json_to_recordset($2::json) AS r (event_id uuid, type text, subject text, data text)`,
      [channel, JSON.stringify(rows)],
    );
    tx.afterCommit(() => this.wake(channel));
  }

  /**
   * Puts answers that an effect's rows keep back into the outbox: the same id, time and data as the first time.
   * `answers` is a SELECT of (event_id, type, subject, time, data) whose $1 is `subjects` (uuid[]).
   */
  async repeat(tx: Transaction, answers: string, subjects: readonly string[]): Promise<void> {
    await tx.execute(
      `INSERT INTO ${this.table} (channel, event_id, type, subject, time, data)
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
      `WITH published AS (DELETE FROM ${this.table} WHERE position = ANY($1::bigint[]))
       UPDATE ${this.table} SET claimed_until = now() + $2::integer * interval '1 ms'
       WHERE position IN (
         SELECT position FROM ${this.table} WHERE channel = $3 AND claimed_until <= now()
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
      `UPDATE ${this.table} AS o
       SET claimed_until = now() + r."delayMs" * interval '1 ms', failures = failures + 1, error = r.error
       FROM json_to_recordset($1::json) AS r (position bigint, "delayMs" integer, error text)
       WHERE o.position = r.position`,
      [JSON.stringify(rows)],
    );
  }

  /** Rows waiting, claimed ones included. */
  async size(database: Database, channel: Channel): Promise<number> {
    const [row] = await database.query<{ size: number }>(
      `SELECT count(*) AS size FROM ${this.table} WHERE channel = $1`,
      [channel],
    );
    return row?.size ?? 0;
  }
}
