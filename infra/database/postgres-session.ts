// Connections to PostgreSQL whose sessions are as the code needs them, however the server, the database, the role, the
// URL or a pooler sets them.
//
// Everything is set by a statement after connecting, because PgBouncer rejects most startup parameters. A pooler must
// give each connection a session of its own: prepared statements, session locks and LISTEN need one.
import type { Duplex } from 'node:stream';
import pg from 'pg';
import type { Logger } from 'pino';
import { reasonOf } from '../runtime/reason.ts';
import { StandbyDatabase, UnsuitableDatabase } from './port.ts';
import type { PostgresServers, Server } from './postgres-servers.ts';
import { parserOf } from './statements.ts';

/** When TCP starts to probe a silent peer; Node then probes every second and gives up after ten. */
const KEEPALIVE_AFTER_MS = 10_000;
/** Exchanges that show whether a pooler shares a session; others may use the pooler at the same time. */
const PROBES = 3;

type Settings = Readonly<Record<string, string>>;

/** In the form in which the server reports them. One that a server does not know is left out. */
const SESSION: Settings = {
  search_path: 'public', // pg_catalog comes first; statements name their schema
  client_encoding: 'UTF8',
  // Results and parameters are read and written in these forms.
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  bytea_output: 'hex',
  extra_float_digits: '1',
  standard_conforming_strings: 'on',
  array_nulls: 'on',
  transform_null_equals: 'off',
  xmloption: 'content',
  default_transaction_isolation: 'read committed',
  default_transaction_deferrable: 'off',
  // Timeouts are the client's: after them, the connection counts as dead.
  statement_timeout: '0',
  lock_timeout: '0',
  transaction_timeout: '0',
  idle_session_timeout: '0',
  // The server ends the transaction of a frozen process (suspended, swapped out) after this: its locks block others.
  idle_in_transaction_session_timeout: '10s',
};

/**
 * Commits wait for the disk. A setting that waits for more, such as remote_apply, stays. A setting of the connection
 * itself takes precedence.
 */
const DURABLE = `CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END`;

export interface SessionConfig extends pg.ClientConfig {
  readonly servers: PostgresServers;
  /** Settings of these connections, besides those of every session. */
  readonly session?: Settings;
}

/** The configuration of connections to `servers`. A query without a response within `queryTimeoutMs` fails. */
export const sessionConfig = (servers: PostgresServers, queryTimeoutMs: number): SessionConfig => ({
  servers,
  connectionTimeoutMillis: servers.connectTimeoutMs, // also limits the wait for a connection while a pool has none free
  query_timeout: queryTimeoutMs,
  keepAlive: true,
  keepAliveInitialDelayMillis: KEEPALIVE_AFTER_MS,
  types: { getTypeParser: parserOf },
});

/** A connection to the current server. */
export class SessionClient extends pg.Client {
  readonly #config: SessionConfig;
  readonly #server: Server;

  /** `server`: instead of the current one. */
  constructor(config: SessionConfig, server = config.servers.current) {
    super({ ...config, ...server.config });
    this.#config = config;
    this.#server = server;
    config.servers.connections.track(this);
  }

  /** Another connection to the same server. */
  sibling(): SessionClient {
    return new SessionClient(this.#config, this.#server);
  }

  /**
   * Resolves when the session is set up. Rejects with UnsuitableDatabase if an operator must change the server, and
   * with any other error if a later attempt may succeed.
   */
  override connect(): Promise<this>;
  override connect(callback: (error: Error) => void): void;
  override connect(callback?: (error: Error) => void): Promise<this> | undefined {
    const connected = this.#connect();
    if (!callback) return connected;
    connected.then(() => callback(null as never), callback); // as pg.Pool calls it
    return undefined;
  }

  async #connect(): Promise<this> {
    // A connection may end between two queries; without a listener the error event would end the process.
    const ignore = () => undefined;
    this.on('error', ignore);
    try {
      await super.connect();
      if (!this.#server.checked) await this.#assertOwnSession();
      await this.#setUp();
      if (!this.#server.checked) await this.#assertSettings();
      this.#server.checked = true;
      this.off('error', ignore);
      return this;
    } catch (error) {
      this.#config.servers.skip(this.#server);
      sever(this);
      throw this.#explained(error);
    }
  }

  async #setUp(): Promise<void> {
    const { session = {} } = this.#config;
    const values = Object.entries({ ...SESSION, ...session }).map(([name, value]) => `('${name}', '${value}')`);
    if (!session.synchronous_commit) values.push(`('synchronous_commit', ${DURABLE})`);
    // A pooler may pass on a used session, so the role, prepared statements and locks of its former user are removed.
    await this.#row('RESET ROLE');
    for (const [name, value] of this.#config.servers.settings) await this.#set(name, value);
    const { version, encoding, standby, read_only } = await this.#row<Facts>(`
      DEALLOCATE ALL;
      SET search_path TO pg_catalog;
      SELECT pg_advisory_unlock_all();
      SELECT count(set_config(name, value, false)) FROM (VALUES ${values.join(', ')}) AS settings (name, value)
      WHERE current_setting(name, true) IS NOT NULL;
      SELECT current_setting('server_version_num')::integer AS version, current_setting('server_encoding') AS encoding,
        pg_is_in_recovery() AS standby, 'on' IN (current_setting('transaction_read_only'),
          current_setting('default_transaction_read_only')) AS read_only`);
    if (version < 140_000)
      throw new UnsuitableDatabase(`PostgreSQL 14 or newer is needed, this is ${Math.floor(version / 10_000)}`);
    if (encoding !== 'UTF8')
      throw new UnsuitableDatabase(
        `its encoding is ${encoding}, which cannot store every text: create a database with ENCODING 'UTF8'`,
      );
    if (!read_only) return;
    const why = standby
      ? 'it is a standby, which is read-only: connect to the primary'
      : 'it is read-only: default_transaction_read_only must be off for the server, the database, the role and the URL';
    // With several hosts, another one may take over soon.
    if (this.#config.servers.count === 1) throw standby ? new StandbyDatabase(why) : new UnsuitableDatabase(why);
    throw Object.assign(new Error(why), { code: READ_ONLY });
  }

  /** A setting of the URL. Not a startup parameter, because PgBouncer rejects them. */
  async #set(name: string, value: string): Promise<void> {
    const literals = [name, value].map((text) => pg.escapeLiteral(text));
    try {
      await this.#row(`SELECT pg_catalog.set_config(${literals.join(', ')}, false)`);
    } catch (error) {
      // The server rejects the setting (SQLSTATE classes), not the connection.
      if (!(error instanceof pg.DatabaseError && /^(22|42|55)/.test(error.code ?? ''))) throw error;
      throw new UnsuitableDatabase(`it rejects the options of the URL: ${error.message}`, error);
    }
  }

  /**
   * In another transaction than the set-up, because a shared session may keep the settings until the end of that one.
   */
  async #assertSettings(): Promise<void> {
    const expected = { ...SESSION, ...this.#config.session };
    const names = Object.keys(expected).map((name) => `'${name}'`);
    const { settings } = await this.#row<{ settings: Record<string, string | null> }>(
      `SELECT json_object_agg(name, current_setting(name, true)) AS settings FROM unnest(ARRAY[${names}]) AS name`,
    );
    const wrong = Object.entries(expected).filter(([name, value]) => (settings[name] ?? value) !== value);
    if (wrong.length === 0) return;
    const list = wrong.map(([name, value]) => `${name} is '${settings[name]}' instead of '${value}'`).join(', ');
    throw new UnsuitableDatabase(`it does not keep the settings of a session: ${list}`);
  }

  /**
   * Rejects if a pooler shares the sessions of the server between clients. A pooler makes up the process id that it
   * announces. Runs before the set-up, whose settings would remain in shared sessions.
   */
  async #assertOwnSession(): Promise<void> {
    if ((await this.#serverPid()) === this.#announcedPid) return;
    const other = new pg.Client({
      ...this.#config,
      query_timeout: this.#config.servers.connectTimeoutMs,
      ...this.#server.config,
    });
    other.on('error', () => undefined); // the query rejects with it
    try {
      await other.connect();
      for (let probe = 0; probe < PROBES; probe++) {
        const before = await this.#serverPid();
        await other.query('BEGIN');
        const { rows } = await other.query<{ pid: number }>('SELECT pg_catalog.pg_backend_pid() AS pid');
        // First, because a pooler with one session would have none left for the second question.
        if (rows[0]?.pid === before || (await this.#serverPid()) !== before) throw new UnsuitableDatabase(SHARED);
        await other.query('COMMIT');
      }
    } catch (error) {
      throw /statement pooling/.test(reasonOf(error)) ? new UnsuitableDatabase(SHARED) : error;
    } finally {
      sever(other);
    }
  }

  async #serverPid(): Promise<number> {
    return (await this.#row<{ pid: number }>('SELECT pg_catalog.pg_backend_pid() AS pid')).pid;
  }

  /** The types of pg lack it. */
  get #announcedPid(): number | null {
    return (this as unknown as { processID: number | null }).processID;
  }

  /** The row of the last statement. */
  async #row<Row extends object>(text: string): Promise<Row> {
    // A server that accepts the connection may still be silent. The types of pg lack the timeout of a query.
    const query = { text, query_timeout: this.#config.servers.connectTimeoutMs };
    const results = [await this.query<Row>(query)].flat();
    return results.at(-1)?.rows[0] as Row;
  }

  #explained(error: unknown): unknown {
    if (error instanceof UnsuitableDatabase) return error;
    const [, parameter] = /^unsupported startup parameter[^:]*: (\w+)/.exec(reasonOf(error)) ?? [];
    if (!parameter) return error;
    return new UnsuitableDatabase(
      `PgBouncer rejects the parameter '${parameter}': unset PG${parameter.toUpperCase()}`,
      error,
    );
  }
}

/** SQLSTATE of a statement that writes in a read-only transaction. */
const READ_ONLY = '25006';

const SHARED =
  'a pooler shares its sessions between clients (transaction or statement pooling), which breaks prepared ' +
  'statements, locks and notifications: set pool_mode=session for this database, or connect to PostgreSQL directly';

interface Facts {
  readonly version: number;
  readonly encoding: string;
  readonly standby: boolean;
  readonly read_only: boolean;
}

/** A pool of such connections. */
export class SessionPool extends pg.Pool {
  readonly servers: PostgresServers;

  constructor(config: SessionConfig, max: number, log: Logger) {
    super({ ...config, max, Client: SessionClient as unknown as new () => pg.ClientBase });
    this.servers = config.servers;
    // The server ended an idle connection: no query failed, and the pool opens another one.
    this.on('error', (error) => log.warn({ error: error.message }, 'a database connection ended'));
  }
}

/** Ends a connection without waiting for the server. */
function sever(client: pg.Client): void {
  client.end().catch(() => undefined);
  socketOf(client).destroy();
}

export const socketOf = (client: pg.Client) =>
  (client as unknown as { connection: { stream: Duplex } }).connection.stream;
