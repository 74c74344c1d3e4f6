// The databases that can hold the queues: PostgreSQL, on connections of the queues' own, and PGlite.
import pg from 'pg';
import type { Logger } from 'pino';
import { type Database, DatabaseUnavailable } from '../database/port.ts';
import { send, withClientOf } from '../database/postgres-connections.ts';
import { retryConflicts } from '../database/statements.ts';
import type { Health } from '../runtime/health.ts';
import { OUTAGE } from './backend.ts';
import { NotificationListener } from './notification-listener.ts';
import { type RunStatement, SCHEMA, SqlBackend } from './sql-backend.ts';

/** Connections of a process for all of its queues, besides the one that listens. */
const POOL_SIZE = 5;

export class PgliteBackend extends SqlBackend {
  readonly kind = 'pglite';
  protected readonly notifies = false;
  /** PGlite runs them one after the other, but all in one turn of its scheduler. */
  readonly concurrentClaims = 64;

  override async start(): Promise<void> {
    await super.start();
    // PGlite has one session. All statements but BullMQ's name their schema.
    await this.database.background.script(`SET search_path TO ${SCHEMA}`);
  }

  health(): Health {
    return { status: 'up' };
  }

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
  readonly #pool: pg.Pool;
  readonly #listener: NotificationListener;

  /** `database` is the same one, for the migrations. */
  constructor(url: string, database: Database, prefix: string, log: Logger) {
    super(database, prefix, log);
    const settings: pg.ClientConfig = {
      connectionString: url,
      connectionTimeoutMillis: 5_000,
      query_timeout: 10_000,
      keepAlive: true,
      application_name: 'sluice queues',
      // A queue may be lost, so its commits do not wait for the disk.
      options: `-c search_path=${SCHEMA} -c synchronous_commit=off`,
    };
    this.#pool = new pg.Pool({ ...settings, max: POOL_SIZE });
    this.#pool.on('error', () => undefined); // an idle connection ended, and the pool opens another one
    this.#listener = new NotificationListener(settings, (name) => this.wake(name), log);
  }

  override async start(): Promise<void> {
    await super.start();
    await this.#listener.connect();
  }

  health(): Health {
    return this.#listener.connected
      ? { status: 'up' }
      : { status: 'down', detail: 'the database of the queues is away' };
  }

  async close(): Promise<void> {
    await this.#listener.stop();
    await this.#pool.end();
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
}
