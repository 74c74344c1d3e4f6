// PostgreSQL through pg: a pool for statements and transactions, a small pool for long-running ones, and one connection
// per session lock.
import type { Logger } from 'pino';
import type { Database } from './port.ts';
import { sessionOn, withClientOf } from './postgres-connections.ts';
import { tryLock } from './postgres-lock.ts';
import { LongRunning } from './postgres-long-running.ts';
import { PostgresServers } from './postgres-servers.ts';
import { SessionClient, SessionPool, sessionConfig } from './postgres-session.ts';
import { parsePostgresUrl } from './postgres-url.ts';
import { PLANNER_SETTINGS, statementsThrough } from './statements.ts';

/**
 * A connection without a response to a statement for this long counts as dead: the slowest of ours takes well under a
 * second. Statements that take longer on a large table use `longRunning`.
 */
const QUERY_TIMEOUT_MS = 30_000;
/** A lock on a dead connection is lost within twice this. */
const LOCK_PROBE_MS = 5_000;

export interface PostgresOptions {
  /** May list several hosts, separated by commas: the first one that accepts writes is used. */
  readonly url: string;
  /** Maximum number of connections, besides those of locks and long-running statements. */
  readonly poolSize: number;
  readonly log: Logger;
  readonly queryTimeoutMs?: number;
  readonly lockProbeMs?: number;
}

export function openPostgres(options: PostgresOptions): Database {
  const { url, poolSize, log, queryTimeoutMs = QUERY_TIMEOUT_MS, lockProbeMs = LOCK_PROBE_MS } = options;
  const config = sessionConfig(new PostgresServers(parsePostgresUrl(url), 'sluice'), queryTimeoutMs);
  const pool = new SessionPool({ ...config, session: PLANNER_SETTINGS }, poolSize, log);
  const longRunning = new LongRunning({ config, checkEveryMs: queryTimeoutMs, log });

  const database: Database = {
    kind: 'postgres',
    get background() {
      return database;
    },
    ...statementsThrough((work) => withClientOf(pool, (client) => work(sessionOn(client)))),
    longRunning: longRunning.statements,
    interrupt: () => {
      longRunning.interrupt();
      config.servers.connections.interrupt(() => new SessionClient(config));
    },
    logPosition: async () => undefined,
    tryLock: (name) => tryLock(config, name, lockProbeMs),
    close: async () => {
      await Promise.all([longRunning.close(), config.servers.connections.end(pool)]);
    },
  };
  return database;
}
