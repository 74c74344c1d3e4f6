// The database port: PostgreSQL through pg, or embedded as PGlite, with the same behaviour.
//
// Parameters are $1, $2, …; a JSON parameter is passed as text (JSON.stringify) and cast in the SQL, because the two
// drivers disagree on arrays; undefined is null. Results: int8 as number (up to 2^53-1), timestamptz as Date, json and
// jsonb parsed. Text holds no U+0000.
import { reasonOf } from '../runtime/reason.ts';

export interface Queryable {
  /** Runs one statement and returns its rows. */
  query<Row extends object>(text: string, params?: readonly unknown[]): Promise<Row[]>;
  /** Runs one statement and returns the number of rows it changed. */
  execute(text: string, params?: readonly unknown[]): Promise<number>;
  /** Runs several statements separated by semicolons, without parameters, in one transaction. */
  script(text: string): Promise<void>;
}

/** Inside a transaction await only its own queries: PGlite runs no other query until it ends. */
export interface Transaction extends Queryable {
  /** Calls `callback` once the transaction is committed, never after a rollback. */
  afterCommit(callback: () => void): void;
}

/** A session lock, released by the database when the holding process dies. */
export interface Lock {
  /**
   * Resolves when the lock is lost without release(), because its connection ended or is dead. Another process may soon
   * hold it, so the protected work must stop at once.
   */
  readonly lost: Promise<void>;
  release(): Promise<void>;
}

/** Single statements, and transactions of several. */
export interface Statements extends Queryable {
  /**
   * READ COMMITTED. Rolls back and rethrows if `work` throws; rejects if the commit fails. After a deadlock or a
   * serialization failure `work` runs again from the start, as a single statement does, so it must change state outside
   * the transaction only by afterCommit.
   */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
}

export interface Database extends Statements {
  readonly kind: 'postgres' | 'pglite';
  /**
   * The same database, for work that no client waits for. PostgreSQL runs both concurrently. PGlite alternates between
   * them, so that a response waits for one background transaction and not for all of them.
   */
  readonly background: Database;
  /**
   * The same database, for statements that may take minutes on a large table and so have no timeout. PostgreSQL runs
   * two at a time, on connections of their own; a third one rejects with DatabaseUnavailable after 5 s.
   */
  readonly longRunning: Statements;
  /**
   * For a stop: ends the statements of `longRunning` with DatabaseUnavailable and rejects new ones. PGlite cannot end a
   * running statement; a transaction ends after it. If PostgreSQL does not respond for a second from then on, all other
   * statements end in the same way.
   */
  interrupt(): void;
  /**
   * The position of the write-ahead log. While it stays the same, no row has changed. Undefined for PostgreSQL, where
   * other processes move it, and in a thread that does not poll.
   */
  logPosition(): Promise<string | undefined>;
  /**
   * Takes the advisory lock of that name; resolves with undefined if another process or this one holds it already. A
   * dead connection is noticed within 10 s, and no other process gets the lock before.
   */
  tryLock(name: string): Promise<Lock | undefined>;
  close(): Promise<void>;
}

/** The transaction conflicted with concurrent ones in every attempt and is not committed. */
export class ConcurrentUpdate extends Error {
  override readonly name = 'ConcurrentUpdate';
  constructor(cause: unknown) {
    super(`concurrent update: ${reasonOf(cause)}`, { cause });
  }
}

/** The connection or the server failed, not the statement: the same statement may succeed later. */
export class DatabaseUnavailable extends Error {
  override readonly name = 'DatabaseUnavailable';
  constructor(cause: unknown) {
    super(`database unavailable: ${reasonOf(cause)}`, { cause });
  }
}

/** Every host of a DATABASE_URL that lists several failed. The message names them, with the reason of each. */
export class NoUsableHost extends Error {
  override readonly name = 'NoUsableHost';
  /** One for each host. */
  readonly errors: readonly unknown[];
  constructor(message: string, errors: readonly unknown[]) {
    super(message, { cause: errors.at(-1) });
    this.errors = errors;
  }
}

/** The database or a pooler cannot be used as it is set up. The message says what an operator has to change. */
export class UnsuitableDatabase extends Error {
  override readonly name = 'UnsuitableDatabase';
  constructor(problem: string, cause?: unknown) {
    super(problem, { cause });
  }
}

/** It is a standby, which may be promoted later. */
export class StandbyDatabase extends UnsuitableDatabase {}

/** Too much work waits for the database, and further work is rejected. */
export class Overloaded extends Error {
  override readonly name = 'Overloaded';
  constructor(limit: number) {
    super(`more than ${limit} requests are waiting for the database`);
  }
}

/** Whether the same work may succeed later. */
export const isUnavailable = (error: unknown): error is DatabaseUnavailable | Overloaded =>
  error instanceof DatabaseUnavailable || error instanceof Overloaded;
