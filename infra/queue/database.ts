// The databases that can hold the queues: PostgreSQL, on connections of the queues' own, and PGlite.
import type pg from 'pg';
import type { Logger } from 'pino';
import { type Database, DatabaseUnavailable } from '../database/port.ts';
import { onSomeServer, orUnavailable, send, withClientOf } from '../database/postgres-connections.ts';
import { PostgresServers } from '../database/postgres-servers.ts';
import { SessionClient, type SessionConfig, SessionPool, sessionConfig } from '../database/postgres-session.ts';
import { parsePostgresUrl } from '../database/postgres-url.ts';
import { retryConflicts } from '../database/statements.ts';
import { backoff } from '../runtime/backoff.ts';
import type { Health } from '../runtime/health.ts';
import { OUTAGE } from './backend.ts';
import { JOBS_CHANNEL, type RunStatement, SCHEMA, SqlBackend } from './sql-backend.ts';

/** Connections of a process for all of its queues, besides the one that listens. */
const POOL_SIZE = 5;
/** A connection without a response to a statement for this long counts as dead. */
const QUERY_TIMEOUT_MS = 10_000;
const RECONNECT_BASE_MS = 100;
const RECONNECT_MAX_MS = 1_000;
/** A connection whose peer is gone looks open. A probe detects that within this and the query timeout. */
const PROBE_EVERY_MS = 5_000;

export class PgliteBackend extends SqlBackend {
  readonly kind = 'pglite';
  protected readonly notifies = false;
  /** PGlite runs them one after the other, but all in one turn of its scheduler. */
  readonly concurrentClaims = 64;

  override async start(options: { readonly migrate: boolean }): Promise<void> {
    await super.start(options);
    // PGlite has one session, so this applies to all statements. Only those of BullMQ need it; all others name their
    // schema.
    await this.database.background.script(`SET search_path TO ${SCHEMA}`);
  }

  health(): Health {
    return { status: 'up' };
  }

  interrupt(): void {}

  async close(): Promise<void> {}

  /** In the foreground: a claim that waits behind all background work would come after its window. */
  protected readonly run: RunStatement = async (text, params) => ({ rows: await this.database.query(text, params) });
}

/** Holds up to 6 connections, however many queues are open. */
export class PostgresBackend extends SqlBackend {
  readonly kind = 'postgres';
  protected readonly notifies = true;
  /** BullMQ serialises them, one commit each. */
  readonly concurrentClaims = 2;
  readonly #config: SessionConfig;
  readonly #pool: SessionPool;
  /** The connection that listens for the notifications of all queues. */
  #listener: pg.Client | undefined;
  #reconnectTimer: NodeJS.Timeout | undefined;
  #probeTimer: NodeJS.Timeout | undefined;
  #failures = 0;
  #closed = false;
  #connecting: Promise<void> | undefined;

  /** `database` is the same one, for the migrations. */
  constructor(url: string, database: Database, prefix: string, log: Logger) {
    super(database, prefix, log);
    const servers = new PostgresServers(parsePostgresUrl(url), 'sluice queues');
    // A queue may be lost, so its commits do not wait for the disk.
    const session = { search_path: SCHEMA, synchronous_commit: 'off' };
    this.#config = { ...sessionConfig(servers, QUERY_TIMEOUT_MS), session };
    this.#pool = new SessionPool(this.#config, POOL_SIZE, log);
  }

  override async start(options: { readonly migrate: boolean }): Promise<void> {
    await super.start(options);
    await onSomeServer(this.#config.servers, () => this.#connect());
  }

  health(): Health {
    return this.#listener ? { status: 'up' } : { status: 'down', detail: 'the database of the queues is away' };
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#reconnectTimer);
    this.interrupt();
    await this.#connecting;
    clearInterval(this.#probeTimer);
    await Promise.all([this.#listener?.end(), this.#config.servers.connections.end(this.#pool)]);
  }

  interrupt(): void {
    this.#config.servers.connections.interrupt(() => new SessionClient(this.#config));
  }

  protected readonly run: RunStatement = async (text, params) => {
    const query = { text, ...(params ? { values: [...params] } : {}) };
    try {
      return await retryConflicts(() => withClientOf(this.#pool, (client) => send(client, query)));
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable)) throw error;
      // BullMQ and JobRunner recognise an outage by its code.
      throw Object.assign(new Error(error.message, { cause: error }), { code: OUTAGE });
    }
  };

  /** Rejects if this connection fails; one that is lost later is replaced. */
  async #connect(): Promise<void> {
    const client = new SessionClient(this.#config);
    client.on('notification', ({ payload }) => {
      if (payload) this.wake(payload);
    });
    client.on('error', (error) => this.#lost(client, error));
    client.on('end', () => this.#lost(client));
    try {
      await client.connect();
      await client.query(`LISTEN ${JOBS_CHANNEL}`);
    } catch (error) {
      await client.end().catch(() => undefined);
      throw orUnavailable(error);
    }
    this.#listener = client;
    const probe = () => client.query('SELECT 1').catch((error: Error) => this.#lost(client, error));
    this.#probeTimer = setInterval(() => void probe(), PROBE_EVERY_MS);
    this.#failures = 0;
    this.wake(); // notifications may have been missed
  }

  /** Does nothing for a client that is not connected yet or was lost before. */
  #lost(client: pg.Client, error?: Error): void {
    if (this.#closed || client !== this.#listener) return;
    this.#listener = undefined;
    clearInterval(this.#probeTimer);
    this.log.warn({ error: error?.message }, 'the database of the queues is away');
    client.end().catch(() => undefined);
    this.#reconnect();
  }

  #reconnect(): void {
    if (this.#closed) return;
    this.#failures++;
    const connect = () => {
      this.#connecting = this.#connect().then(
        () => this.log.info('the database of the queues is back'),
        () => this.#reconnect(),
      );
    };
    this.#reconnectTimer = setTimeout(connect, backoff(this.#failures, RECONNECT_BASE_MS, RECONNECT_MAX_MS));
  }
}
