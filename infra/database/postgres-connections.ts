// Sessions on the connections of a pool, and the errors that are the connection's rather than the statement's.
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { reasonOf } from '../runtime/reason.ts';
import { DatabaseUnavailable, NoUsableHost, UnsuitableDatabase } from './port.ts';
import type { PostgresServers } from './postgres-servers.ts';
import type { SessionPool } from './postgres-session.ts';
import type { Session } from './statements.ts';

/** The longest timer (25 days); pg takes 0 for the connection's own timeout. */
export const NO_TIMEOUT_MS = 2 ** 31 - 1;

/** Runs `work` on a connection of the pool. A connection that broke is not returned to the pool. */
export async function withClientOf<T>(pool: SessionPool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  // No statement was sent yet, so any error is the connection's.
  const client = await onSomeServer(pool.servers, () => pool.connect()).catch((error) => {
    throw error instanceof DatabaseUnavailable ? error : new DatabaseUnavailable(error);
  });
  let broken: Error | undefined;
  // A connection may end between two queries; without a listener the error event would end the process.
  const onError = (error: Error) => {
    broken = error;
  };
  client.on('error', onError);
  try {
    return await work(client);
  } catch (error) {
    if (error instanceof DatabaseUnavailable) broken ??= error;
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}

/** Runs `connect` for the current server, and for the next ones while it fails because of its server. */
export async function onSomeServer<T>(servers: PostgresServers, connect: () => Promise<T>): Promise<T> {
  const reasons: string[] = [];
  const errors: unknown[] = [];
  for (;;) {
    const tried = servers.current;
    try {
      return await connect();
    } catch (error) {
      if (tried === servers.current) throw error;
      reasons.push(`${tried.name}: ${reasonOf(error)}`);
      errors.push(error);
      if (errors.length === servers.count) throw new DatabaseUnavailable(new NoUsableHost(reasons.join('; '), errors));
    }
  }
}

/** `timeoutMs`: of one statement. Default: the connection's. */
export function sessionOn(client: pg.ClientBase, timeoutMs?: number): Session {
  const run = <Row extends object>(text: string, params: readonly unknown[] = []) =>
    send<Row>(client, { ...statement(text, timeoutMs), name: statementName(text), values: [...params] });
  return {
    query: async <Row extends object>(text: string, params?: readonly unknown[]) => (await run<Row>(text, params)).rows,
    execute: async (text, params) => (await run(text, params)).rowCount ?? 0,
    script: async (text) => {
      await send(client, statement(text, timeoutMs));
    },
    // BEGIN and ROLLBACK are quick: they keep the connection's timeout, which detects a dead peer.
    command: async (text) => (await send(client, text === 'COMMIT' ? statement(text, timeoutMs) : { text })).command,
    rollback: async (error) => {
      // With the connection the transaction is gone, too; the first error is the one to report.
      if (!(error instanceof DatabaseUnavailable)) await send(client, { text: 'ROLLBACK' });
    },
  };
}

/**
 * Runs one query. Rejects with DatabaseUnavailable if the connection or the server failed. This is decided here, so
 * that an error from inside a transaction's `work` is never taken for an outage.
 */
export async function send<Row extends object>(client: pg.ClientBase, query: pg.QueryConfig) {
  try {
    return await client.query<Row>(query);
  } catch (error) {
    throw orUnavailable(error);
  }
}

/** The error to throw for an error of a connection or a query. */
export const orUnavailable = (error: unknown): unknown =>
  isUnavailable(error) ? new DatabaseUnavailable(error) : error;

/** pg takes a timeout per statement, which its types lack. */
const statement = (text: string, timeoutMs: number | undefined) => ({ text, query_timeout: timeoutMs });

// Named statements are parsed and planned once per connection. Their texts come from the code, so there are few.
const names = new Map<string, string>();
function statementName(text: string): string {
  let name = names.get(text);
  if (name === undefined) {
    name = createHash('sha1').update(text).digest('hex');
    names.set(text, name);
  }
  return name;
}

/** Whether the connection or the server failed and not the statement. SQLSTATE classes: PostgreSQL, appendix A. */
function isUnavailable(error: unknown): boolean {
  if (error instanceof UnsuitableDatabase) return true;
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
