// PostgreSQL by pg: a pool for statements and transactions, a small one for those that may take long, and a connection of
// its own for each session lock.
import pg from 'pg';
import type { Logger } from 'pino';
import { int8 } from './encoding.ts';
import type { Database } from './port.ts';
import { statementsOf, withClientOf } from './postgres-connections.ts';
import { tryLock } from './postgres-lock.ts';
import { LongRunning } from './postgres-long-running.ts';
import { retryConflicts } from './retry-conflicts.ts';

const CONNECT_TIMEOUT_MS = 5_000;
/**
 * A statement without an answer for this long means a dead connection: the slowest of ours takes well under a second.
 * What may take longer on a grown table is long-running.
 */
const QUERY_TIMEOUT_MS = 30_000;
/** A lock whose connection is dead is lost within twice this. */
const LOCK_PROBE_MS = 5_000;
/** How soon TCP asks a peer that is silent; Node then asks every second, and gives up after ten. */
const KEEPALIVE_AFTER_MS = 10_000;
/**
 * A process that is frozen in the middle of a transaction (suspended, swapped out) loses it after this: its locks would
 * hold up everyone else.
 */
const IDLE_IN_TRANSACTION_MS = 10_000;

export interface PostgresOptions {
  readonly url: string;
  /** Connections of this process at the most; locks and long-running statements come on top. */
  readonly poolSize: number;
  readonly log: Logger;
  /** Default QUERY_TIMEOUT_MS. */
  readonly queryTimeoutMs?: number;
  /** Default LOCK_PROBE_MS. */
  readonly lockProbeMs?: number;
}

export function openPostgres(options: PostgresOptions): Database {
  const { url, poolSize, log, queryTimeoutMs = QUERY_TIMEOUT_MS, lockProbeMs = LOCK_PROBE_MS } = options;
  const settings: pg.ClientConfig = {
    connectionString: url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: queryTimeoutMs,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_AFTER_MS,
    application_name: 'sluice',
    types: { getTypeParser },
  };
  const pool = new pg.Pool({ ...settings, max: poolSize });
  // An idle connection that the server ends is not an error of any query; the pool replaces it.
  pool.on('error', (error) => log.warn({ error: error.message }, 'a database connection ended'));
  const longRunning = new LongRunning({ settings, checkEveryMs: queryTimeoutMs, log });

  const database: Database = {
    kind: 'postgres',
    get background() {
      return database;
    },
    ...statementsOf({ withClient: (work) => retryConflicts(() => withClientOf(pool, work)) }),
    longRunning: longRunning.statements,
    interrupt: () => longRunning.interrupt(),
    tryLock: (name) => tryLock(settings, name, lockProbeMs),
    close: async () => {
      await Promise.all([longRunning.close(), pool.end()]);
    },
  };
  return database;
}

function getTypeParser(oid: number, format?: 'text' | 'binary') {
  if (oid === int8) return Number;
  return format === 'binary' ? pg.types.getTypeParser(oid, 'binary') : pg.types.getTypeParser(oid, 'text');
}
