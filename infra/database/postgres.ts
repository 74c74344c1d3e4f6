// PostgreSQL through pg: a pool for statements and transactions, a small pool for long-running ones, and one connection
// per session lock.
import type pg from 'pg';
import type { Logger } from 'pino';
import { type Database, DatabaseUnavailable } from './port.ts';
import { PostgresClients, STOPPING } from './postgres-clients.ts';
import { sessionOn, withClientOf } from './postgres-connections.ts';
import { tryLock } from './postgres-lock.ts';
import { LongRunning } from './postgres-long-running.ts';
import { PLANNER_OPTIONS, parserOf, statementsThrough } from './statements.ts';

const CONNECT_TIMEOUT_MS = 5_000;
/**
 * A connection without a response to a statement for this long counts as dead: the slowest of ours takes well under a
 * second. Statements that take longer on a large table use `longRunning`.
 */
const QUERY_TIMEOUT_MS = 30_000;
/** A lock on a dead connection is lost within twice this. */
const LOCK_PROBE_MS = 5_000;
/** When TCP starts to probe a silent peer; Node then probes every second and gives up after ten. */
const KEEPALIVE_AFTER_MS = 10_000;
/** The server ends the transaction of a frozen process (suspended, swapped out) after this: its locks block others. */
const IDLE_IN_TRANSACTION_MS = 10_000;

export interface PostgresOptions {
  readonly url: string;
  /** Maximum number of connections, besides those of locks and long-running statements. */
  readonly poolSize: number;
  readonly log: Logger;
  readonly queryTimeoutMs?: number;
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
    types: { getTypeParser: parserOf },
  };
  const clients = new PostgresClients(settings);
  const pool = clients.createPool({ options: PLANNER_OPTIONS.join(' '), max: poolSize });
  // The server ended an idle connection: no query failed, and the pool opens another one.
  pool.on('error', (error) => log.warn({ error: error.message }, 'a database connection ended'));
  const longRunning = new LongRunning({ clients, checkEveryMs: queryTimeoutMs, log });
  const statements = statementsThrough(async (work) => {
    if (clients.severed) throw new DatabaseUnavailable(STOPPING);
    const result = await withClientOf(pool, (client) => work(sessionOn(client)));
    clients.responded();
    return result;
  });

  const database: Database = {
    kind: 'postgres',
    get background() {
      return database;
    },
    ...statements,
    longRunning: longRunning.statements,
    interrupt: () => {
      longRunning.interrupt();
      clients.interrupt();
    },
    logPosition: async () => undefined,
    tryLock: (name) => tryLock(clients, name, lockProbeMs),
    close: async () => {
      await Promise.all([longRunning.close(), clients.end(pool)]);
    },
  };
  return database;
}
