// The outbox: an event is a row, written in the transaction that caused it. So an event leaves if and only if its cause
// was committed. The relay (relay.ts) publishes the rows.
//
// Whoever writes a row claims it for the relay of its own process at once, by a lease, and hands it over in memory after
// the commit: nothing is read back while all goes well. Rows that nobody holds (the process died, the relay was busy or
// its transport away, a request was resent) are found by the relay's poll.
import type { Database, Queryable, Transaction } from '../database/port.ts';
import { countSome } from '../database/sql.ts';

/** Where a row goes. One being away does not hold up the other. */
export type Channel = 'bus' | 'user';

/** A row that this process has claimed. */
export interface ClaimedRow {
  readonly position: number;
  readonly event_id: string;
  readonly type: string;
  /** The id of what the event is about; for channel `user` the user's. */
  readonly subject: string;
  readonly time: Date;
  /** JSON. */
  readonly data: string;
  readonly failures: number;
}

/** What the outbox knows of a channel's relay in this process. */
export interface RelayDoor {
  /** How long it claims rows that are written now; 0 while it wants none handed over. */
  leaseMs(): number;
  /** Takes rows that were claimed at that. */
  offer(rows: readonly ClaimedRow[]): void;
  /** Says that there are rows which nobody has claimed. */
  wake(): void;
}

/** An event that a service has at hand, rather than in its tables. */
export interface NewEvent {
  /** A UUID. */
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly time: Date;
  readonly data: object;
}

const GIVEN = `SELECT * FROM json_to_recordset($1::json)
  AS r (event_id uuid, type text, subject text, time timestamptz, data text)`;

export class Outbox {
  readonly #table: string;
  readonly #relays = new Map<Channel, RelayDoor>();

  /** `schema` is the service's; it holds the table. */
  constructor(schema: string) {
    this.#table = `${schema}.outbox`;
  }

  connect(channel: Channel, relay: RelayDoor): void {
    this.#relays.set(channel, relay);
  }

  /** For statements of a service that write rows themselves: the lease that they are to claim them with. */
  leaseMs(channel: Channel): number {
    return this.#relays.get(channel)?.leaseMs() ?? 0;
  }

  /** To be called once rows are committed that were written with a lease of `leaseMs`. */
  committed(channel: Channel, rows: readonly ClaimedRow[], leaseMs: number): void {
    if (rows.length === 0) return;
    if (leaseMs > 0) this.#relays.get(channel)?.offer(rows);
    else this.wake(channel);
  }

  /** Says that unclaimed rows were committed. A wake-up that gets lost costs the relay's poll interval, nothing else. */
  wake(channel: Channel): void {
    this.#relays.get(channel)?.wake();
  }

  /**
   * Writes events in the transaction that causes them. `events` is a SELECT of (event_id, type, subject, time, data)
   * with `params`; `effects` are CTEs for it to select from, such as `WITH stored AS (INSERT … RETURNING …)`.
   */
  async write(
    tx: Transaction,
    channel: Channel,
    events: string,
    params: readonly unknown[],
    effects = '',
  ): Promise<void> {
    const leaseMs = this.leaseMs(channel);
    const rows = await this.#insert(tx, channel, events, params, effects, leaseMs);
    tx.afterCommit(() => this.committed(channel, rows, leaseMs));
  }

  /** Writes events that are at hand, in the transaction that causes them. */
  async writeEvents(tx: Transaction, channel: Channel, events: readonly NewEvent[]): Promise<void> {
    if (events.length === 0) return;
    const rows = events.map(({ id, data, ...event }) => ({ ...event, event_id: id, data: JSON.stringify(data) }));
    await this.write(tx, channel, GIVEN, [JSON.stringify(rows)]);
  }

  /**
   * The same where one statement, `effects` with the events, is the whole transaction. Returns how many events. Its
   * locks are never held while a client is thinking.
   */
  async writeAtOnce(
    database: Database,
    channel: Channel,
    events: string,
    params: readonly unknown[],
    effects: string,
  ): Promise<number> {
    const leaseMs = this.leaseMs(channel);
    const rows = await this.#insert(database, channel, events, params, effects, leaseMs);
    this.committed(channel, rows, leaseMs);
    return rows.length;
  }

  #insert(
    database: Queryable,
    channel: Channel,
    events: string,
    params: readonly unknown[],
    effects: string,
    leaseMs: number,
  ): Promise<ClaimedRow[]> {
    return database.query<ClaimedRow>(
      `${effects} INSERT INTO ${this.#table} (channel, event_id, type, subject, time, data, claimed_until)
       SELECT '${channel}', e.event_id, e.type, e.subject, e.time, e.data,
         now() + $${params.length + 1}::integer * interval '1 ms'
       FROM (${events}) AS e
       RETURNING position, event_id, type, subject, time, data, failures`,
      [...params, leaseMs],
    );
  }

  /**
   * The relay's turn: deletes what was published, and claims what nobody holds, for `leaseMs`. One statement, so that
   * no transaction stays open while the network is waited for. Rows that another relay has locked are passed over. A
   * row whose lease ran out while it was published is only deleted: of a deletion and an update in one statement,
   * PostgreSQL does one.
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
         SELECT position FROM ${this.#table}
         WHERE channel = $3 AND claimed_until <= now() AND position <> ALL ($1::bigint[])
         ORDER BY position LIMIT $4 FOR UPDATE SKIP LOCKED)
       RETURNING position, event_id, type, subject, time, data, failures`,
      [published, leaseMs, channel, limit],
    );
    return rows.sort((a, b) => a.position - b.position);
  }

  /** Gives rows back that could not be published; they are due again after their delay. */
  async release(
    database: Queryable,
    rows: readonly { readonly position: number; readonly delayMs: number; readonly error: string }[],
  ): Promise<void> {
    await database.execute(
      `UPDATE ${this.#table} AS o
       SET claimed_until = now() + r."delayMs" * interval '1 ms', failures = failures + CASE WHEN r."delayMs" > 0 THEN 1 ELSE 0 END, error = r.error
       FROM json_to_recordset($1::json) AS r (position bigint, "delayMs" integer, error text)
       WHERE o.position = r.position`,
      [JSON.stringify(rows)],
    );
  }

  /** Gives up the claim on rows that were not tried. */
  async giveBack(database: Queryable, rows: readonly ClaimedRow[]): Promise<void> {
    await database.execute(`UPDATE ${this.#table} SET claimed_until = '-infinity' WHERE position = ANY($1::bigint[])`, [
      rows.map(({ position }) => position),
    ]);
  }

  /** Rows waiting, claimed ones included, as far as they are counted. */
  size(database: Queryable, channel: Channel): Promise<number> {
    return countSome(database, `${this.#table} WHERE channel = $1`, [channel]);
  }
}
