// The outbox: an event is a row, written in the transaction that causes it. So an event is published if and only if its
// cause is committed. Services write the rows here; relay.ts publishes them.
//
// A row is written with a lease for the relay of its own process, which gets it in memory after the commit: it is not
// read back from the table. The relay's poll finds rows without a valid lease: their process died, or its relay was
// full or its transport was down when they were written.
import type { Database, Transaction } from '../database/port.ts';
import type { CloudEvent, DeadMessage, Handler, OnDead } from './handler.ts';

/** The destination of a row: the event bus, or a user's MQTT topic. An outage of one does not delay the other. */
export const channels = ['bus', 'user'] as const;
export type Channel = (typeof channels)[number];

export interface OutboxRow {
  readonly position: number;
  readonly event_id: string;
  readonly type: string;
  /** The id of the order or ticket that the event is about; on channel `user`, the user's id. */
  readonly subject: string;
  readonly time: Date;
  /** JSON. */
  readonly data: string;
  readonly failures: number;
  /** It was read back from the table, so an earlier attempt at publishing it may not have finished. */
  readonly reclaimed?: boolean;
}

/** SQL that causes events, with the types of its parameters. Made by `defineStatement`, beside the service's SQL. */
export interface Statement<Params extends readonly unknown[]> {
  /** Default: `bus`. */
  readonly channel?: Channel;
  /** CTEs that change the service's rows, such as `WITH changed AS (UPDATE … RETURNING …)`; `events` reads them. */
  readonly effects?: string;
  /** A SELECT of (event_id, type, subject, time, data). */
  readonly events: string;
  /** Returns the values of $1, $2, … */
  readonly params: (...params: Params) => readonly unknown[];
}

export const defineStatement = <Params extends readonly unknown[]>(statement: Statement<Params>): Statement<Params> =>
  statement;

/** An event that a service has in memory rather than in its tables. */
export interface NewEvent {
  /** A UUID. */
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly time: Date;
  readonly data: object;
}

/** Writes events that are in memory. */
export const NEW_EVENTS = defineStatement({
  events: `SELECT id AS event_id, type, subject, time, data::text
    FROM json_to_recordset($1::json) AS r (id uuid, type text, subject text, time timestamptz, data json)`,
  params: (events: readonly NewEvent[]) => [JSON.stringify(events)],
});

/** The relay of a channel, as the outbox sees it. */
export interface RelayHandle {
  /** The lease for rows that are written now, in milliseconds; 0 while the relay accepts no rows. */
  leaseMs(): number;
  /** Accepts rows that were committed with that lease. */
  enqueue(rows: readonly OutboxRow[]): void;
  /** Announces rows that were committed without a lease. Without the call, the next poll finds them. */
  wake(): void;
}

export class Outbox {
  readonly #table: string;
  readonly #relays = new Map<Channel, RelayHandle>();

  /** `schema` is the service's; it holds the table. */
  constructor(schema: string) {
    this.#table = `${schema}.outbox`;
  }

  /** Sets the relay for this process's rows of a channel, in place of an earlier one. */
  connect(channel: Channel, relay: RelayHandle): void {
    this.#relays.set(channel, relay);
  }

  /**
   * Runs a statement and writes its events as one SQL statement, in the transaction `on`. If `on` is a database, the
   * statement is a transaction of its own, so no lock is held across a round trip. Resolves with the rows of the
   * events.
   */
  async write<Params extends readonly unknown[]>(
    on: Database | Transaction,
    { channel = 'bus', effects = '', events, params: valuesOf }: Statement<Params>,
    ...params: Params
  ): Promise<OutboxRow[]> {
    const leaseMs = this.#relays.get(channel)?.leaseMs() ?? 0;
    const values = [...valuesOf(...params), leaseMs];
    const rows = await on.query<OutboxRow>(
      `${effects} INSERT INTO ${this.#table} (channel, event_id, type, subject, time, data, claimed_until)
       SELECT '${channel}', e.event_id, e.type, e.subject, e.time, e.data,
         now() + $${values.length}::integer * interval '1 ms'
       FROM (${events}) AS e
       RETURNING position, event_id, type, subject, time, data, failures`,
      values,
    );
    const handOver = () => {
      if (leaseMs > 0) this.#relays.get(channel)?.enqueue(rows);
      else this.#relays.get(channel)?.wake();
    };
    if (rows.length > 0) {
      if ('afterCommit' in on) on.afterCommit(handOver);
      else handOver();
    }
    return rows;
  }
}

/** Reports each dead message with an event of this type, whose data says which message and why. */
export const reportDead =
  (outbox: Outbox, type: string, data: (dead: DeadMessage) => object): OnDead =>
  (tx, dead) => {
    const events = dead.map((message) => {
      const { reportId: id, subject, at: time } = message;
      return { id, type, subject, time, data: data(message) };
    });
    return outbox.write(tx, NEW_EVENTS, events);
  };

/** A handler whose replies are one statement: written after the effects, and again if the requests arrive again. */
export const replyWith = <E extends CloudEvent>(
  outbox: Outbox,
  replies: Statement<[subjects: readonly string[]]>,
  writeEffects: (tx: Transaction, events: readonly E[]) => Promise<unknown>,
): Handler<E> => ({
  handle: async (tx, events) => {
    await writeEffects(tx, events);
    const subjects = events.map(({ subject }) => subject);
    await outbox.write(tx, replies, subjects);
  },
  resendReplies: (tx, subjects) => outbox.write(tx, replies, subjects),
});
