// Statements that may take minutes on a large table and have no timeout. To distinguish a dead connection from a slow
// statement, another connection checks at intervals whether the session still exists.
import pg from 'pg';
import type { Logger } from 'pino';
import { DatabaseUnavailable, type Statements, type Transaction } from './port.ts';
import { NO_TIMEOUT_MS, send, sessionOn, withClientOf } from './postgres-connections.ts';
import { type SessionClient, type SessionConfig, SessionPool } from './postgres-session.ts';
import { queryableThrough, type Session, statementsThrough } from './statements.ts';

/** Concurrent transactions, on connections of their own, so that short statements do not wait for them. */
const CONNECTIONS = 2;

/**
 * For one transaction: has the server end a statement within a second after its client is gone (which it can detect
 * only on Linux).
 */
const SETTINGS = `SELECT set_config('client_connection_check_interval', '1s', true) WHERE version() LIKE '%linux%'`;

interface LongRunningOptions {
  readonly config: SessionConfig;
  /** Interval between two checks that the session exists. */
  readonly checkEveryMs: number;
  readonly log: Logger;
}

export class LongRunning {
  /** Each statement runs in a transaction of its own. */
  readonly statements: Statements;
  readonly #options: LongRunningOptions;
  readonly #pool: SessionPool;
  readonly #busy = new Set<pg.PoolClient>();
  #interrupted = false;

  constructor(options: LongRunningOptions) {
    this.#options = options;
    this.#pool = new SessionPool(options.config, CONNECTIONS, options.log);
    const { transaction } = statementsThrough((work) =>
      withClientOf(this.#pool, (client) => this.#watch(client, work)),
    );
    const withoutTimeout = <T>(work: (tx: Transaction) => Promise<T>) =>
      transaction(async (tx) => {
        await tx.query(SETTINGS);
        return work(tx);
      });
    this.statements = { ...queryableThrough(withoutTimeout), transaction: withoutTimeout };
  }

  /** Ends the running statements and rejects later ones. */
  interrupt(): void {
    this.#interrupted = true;
    for (const client of this.#busy) sever(client);
  }

  async close(): Promise<void> {
    this.interrupt();
    await this.#pool.servers.connections.end(this.#pool);
  }

  async #watch<T>(client: pg.PoolClient, work: (on: Session) => Promise<T>): Promise<T> {
    if (this.#interrupted) throw new DatabaseUnavailable('this process is stopping');
    this.#busy.add(client);
    let checking: NodeJS.Timeout | undefined;
    try {
      const { rows } = await send<{ pid: number }>(client, { text: 'SELECT pg_backend_pid() AS pid' });
      checking = setInterval(() => void this.#check(client, rows[0]?.pid), this.#options.checkEveryMs);
      return await work(sessionOn(client, NO_TIMEOUT_MS));
    } finally {
      clearInterval(checking);
      this.#busy.delete(client);
    }
  }

  /** Severs the connection if its session no longer exists or the server does not respond to another client. */
  async #check(client: pg.PoolClient, pid: number | undefined): Promise<void> {
    const other = (client as unknown as SessionClient).sibling();
    other.on('error', () => undefined); // the query rejects with it
    try {
      await other.connect();
      const { rowCount } = await other.query('SELECT FROM pg_stat_activity WHERE pid = $1', [pid]);
      if (rowCount) return;
    } catch (error) {
      if (error instanceof pg.DatabaseError) return; // the server responds, for example "too many connections"
    } finally {
      other.end().catch(() => undefined);
    }
    this.#options.log.warn({ pid }, 'a long-running statement lost its database session');
    sever(client);
  }
}

/** A statement that waits for the connection rejects; an idle connection takes no further statement. */
function sever(client: pg.PoolClient): void {
  (client as pg.PoolClient & pg.Client).end().catch(() => undefined);
}
