// PostgreSQL by pg: a pool for statements and transactions, and a connection of its own for each session lock.
import { createHash } from 'node:crypto';
import pg from 'pg';
import type { Logger } from 'pino';
import { int8 } from './encoding.ts';
import { type Database, DatabaseUnavailable, type Lock, type Queryable, type Transaction } from './port.ts';

const CONNECT_TIMEOUT_MS = 5_000;
/** A statement without an answer for this long means a dead connection: the slowest of ours takes well under a second. */
const QUERY_TIMEOUT_MS = 30_000;
/**
 * A process that is frozen in the middle of a transaction (suspended, swapped out) loses it after this: its locks, a
 * flash sale's row among them, would hold up everyone else.
 */
const IDLE_IN_TRANSACTION_MS = 10_000;

export interface PostgresOptions {
  readonly url: string;
  /** Connections of this process at the most; locks come on top. */
  readonly poolSize: number;
  readonly log: Logger;
}

export function openPostgres({ url, poolSize, log }: PostgresOptions): Database {
  const settings: pg.ClientConfig = {
    connectionString: url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    keepAlive: true,
    application_name: 'sluice',
    types: { getTypeParser },
  };
  const pool = new pg.Pool({ ...settings, max: poolSize });
  // An idle connection that the server ends is not an error of any query; the pool replaces it.
  pool.on('error', (error) => log.warn({ error: error.message }, 'a database connection ended'));

  // Nothing was sent yet: whatever went wrong, it is the connection.
  const connect = () =>
    pool.connect().catch((error) => {
      throw new DatabaseUnavailable(error);
    });
  const withClient = async <T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> => {
    const client = await connect();
    let broken: Error | undefined;
    // A connection may end while its client is between two queries of ours: without a listener that ends the process.
    const onError = (error: Error) => {
      broken = error;
    };
    client.on('error', onError);
    try {
      return await work(client);
    } catch (error) {
      if (isUnavailable(error)) broken = error as Error;
      return rethrow(error);
    } finally {
      client.off('error', onError);
      client.release(broken);
    }
  };

  const database: Database = {
    kind: 'postgres',
    get background() {
      return database;
    },
    query: (text, params) => withClient((client) => queryableOf(client).query(text, params)),
    execute: (text, params) => withClient((client) => queryableOf(client).execute(text, params)),
    script: (text) => withClient((client) => queryableOf(client).script(text)),
    transaction: async (work) => {
      const callbacks: (() => void)[] = [];
      const result = await withClient(async (client) => {
        await client.query('BEGIN');
        try {
          const transaction: Transaction = {
            ...queryableOf(client),
            afterCommit: (callback) => callbacks.push(callback),
          };
          const outcome = await work(transaction);
          // PostgreSQL answers ROLLBACK where a statement failed before, even if `work` got over its error.
          const { command } = await client.query('COMMIT');
          if (command !== 'COMMIT') throw new Error('the transaction was rolled back: one of its statements failed');
          return outcome;
        } catch (error) {
          // Where the connection is gone, so is the transaction; the first error is the one to tell.
          if (!isUnavailable(error)) await client.query('ROLLBACK');
          throw error;
        }
      });
      for (const callback of callbacks) callback();
      return result;
    },
    tryLock: (name) => tryLock(settings, name),
    close: () => pool.end(),
  };
  return database;
}

function queryableOf(client: pg.ClientBase): Queryable {
  return {
    query: async <Row extends object>(text: string, params: readonly unknown[] = []) =>
      (await client.query<Row>({ name: statementName(text), text, values: [...params] })).rows,
    execute: async (text, params = []) =>
      (await client.query({ name: statementName(text), text, values: [...params] })).rowCount ?? 0,
    script: async (text) => {
      await client.query(text);
    },
  };
}

// Named statements are parsed and planned once per connection. The texts are the program's own, so there are few.
const names = new Map<string, string>();
function statementName(text: string): string {
  let name = names.get(text);
  if (name === undefined) {
    name = createHash('sha1').update(text).digest('hex');
    names.set(text, name);
  }
  return name;
}

function getTypeParser(oid: number, format?: 'text' | 'binary') {
  if (oid === int8) return Number;
  return format === 'binary' ? pg.types.getTypeParser(oid, 'binary') : pg.types.getTypeParser(oid, 'text');
}

async function tryLock(settings: pg.ClientConfig, name: string): Promise<Lock | undefined> {
  const client = new pg.Client(settings);
  let released = false;
  const lost = new Promise<void>((resolve) => {
    const ended = () => {
      if (!released) resolve();
    };
    client.on('error', ended);
    client.on('end', ended);
  });
  try {
    await client.connect();
    const { rows } = await client.query<{ taken: boolean }>(
      'SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS taken',
      [name],
    );
    if (rows[0]?.taken) {
      const release = async () => {
        released = true;
        await client.end();
      };
      return { lost, release };
    }
    await client.end();
    return undefined;
  } catch (error) {
    await client.end().catch(() => {}); // it may never have connected; the error to tell is the first one
    return rethrow(error);
  }
}

function rethrow(error: unknown): never {
  throw isUnavailable(error) && !(error instanceof DatabaseUnavailable) ? new DatabaseUnavailable(error) : error;
}

/** Whether the connection or the server failed, rather than the statement. SQLSTATE classes: PostgreSQL, appendix A. */
function isUnavailable(error: unknown): boolean {
  if (error instanceof DatabaseUnavailable) return true;
  if (!(error instanceof Error)) return false;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return (
    /^(08|53|58|57P0|25006)/.test(code) || // connection, resources, system, shutdown, a standby after a failover
    /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)/.test(code) ||
    /^(Connection terminated|timeout exceeded|Query read timeout|Client has encountered|Client was closed|Cannot use a pool)/.test(
      error.message,
    )
  );
}
