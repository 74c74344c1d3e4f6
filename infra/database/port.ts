// The database as the rest of the system sees it: PostgreSQL, by pg or embedded as PGlite, with one behaviour.
//
// Parameters are $1, $2, …; a JSON parameter is passed as text (JSON.stringify) and cast in the SQL, because the two
// drivers disagree on arrays. Results: int8 as number (up to 2^53-1), timestamptz as Date, json and
// jsonb parsed. Text holds no U+0000.

export interface Queryable {
  /** Runs one statement and returns its rows. */
  query<Row extends object>(text: string, params?: readonly unknown[]): Promise<Row[]>;
  /** Runs one statement and returns how many rows it changed. */
  execute(text: string, params?: readonly unknown[]): Promise<number>;
  /** Runs several statements separated by semicolons, without parameters, in one transaction. */
  script(text: string): Promise<void>;
}

/** Inside a transaction. Only its own queries may be awaited there: PGlite lets no other query run meanwhile. */
export interface Transaction extends Queryable {
  /** Runs `callback` once the transaction is committed, never when it is rolled back. */
  afterCommit(callback: () => void): void;
}

/** A session lock, released by the database when the holding process dies. */
export interface Lock {
  /**
   * Resolves when the lock is lost without having been released: the connection that held it ended or is dead. Another
   * process may hold it soon, so what it protects must stop at once.
   */
  readonly lost: Promise<void>;
  release(): Promise<void>;
}

/** Statements, each by itself or several in a transaction. */
export interface Statements extends Queryable {
  /**
   * READ COMMITTED. Rolls back when `work` throws, and rethrows. Rejects when the commit fails. After a deadlock or a
   * serialization failure `work` runs again from the start, as single statements do: outside of the transaction it
   * changes nothing but by afterCommit.
   */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
}

export interface Database extends Statements {
  readonly kind: 'postgres' | 'pglite';
  /**
   * The same database, for work that no client waits for. PostgreSQL runs both side by side; PGlite runs one thing at a
   * time, and then takes turns between the two, so that an answer waits for one transaction and not for all of them.
   */
  readonly background: Database;
  /**
   * The same database, for statements that may take minutes on a grown table: no timeout ends them. PostgreSQL runs two
   * at a time, on connections of their own; a third one is "unavailable" when it has waited for some seconds.
   */
  readonly longRunning: Statements;
  /**
   * Ends what is under way on `longRunning`, which is then "unavailable", and lets nothing begin there: for a stop. In
   * PGlite a statement cannot be ended; a transaction ends after the statement under way.
   */
  interrupt(): void;
  /**
   * Takes the advisory lock of that name for this process, or answers undefined where another holds it. A connection
   * that is dead is noticed within 10 s, and no other process gets the lock before.
   */
  tryLock(name: string): Promise<Lock | undefined>;
  close(): Promise<void>;
}

/** Concurrent transactions kept this one from committing, several times in a row. Nothing of it is committed. */
export class ConcurrentUpdate extends Error {
  readonly code = 'concurrent-update';
  constructor(cause: unknown) {
    super(`concurrent update: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = 'ConcurrentUpdate';
  }
}

/** A fault of the connection or the server, not of the statement: the same statement may succeed later. */
export class DatabaseUnavailable extends Error {
  readonly code = 'database-unavailable';
  constructor(cause: unknown) {
    super(`database unavailable: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = 'DatabaseUnavailable';
  }
}
