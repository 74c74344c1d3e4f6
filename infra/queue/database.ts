// Queues in the database. Only one process drains a queue at a time, since BullMQ tells locks and windows by the
// worker's clock there.
import { createPostgresBackend, Queue, runMigrations, Worker } from 'bullmq';
import pg from 'pg';
import type { Logger } from 'pino';
import { logWhileRunning, withMigrationLock } from '../database/migrate.ts';
import { type Database, DatabaseUnavailable } from '../database/port.ts';
import { send, withClientOf } from '../database/postgres-connections.ts';
import { retryConflicts } from '../database/retry-conflicts.ts';
import { backoff } from '../runtime/backoff.ts';
import type { Health } from '../runtime/health.ts';
import type { Backend, Ends } from './backend.ts';
import { OUTAGE, withinGrace } from './job-runner.ts';
import { JOBS_CHANNEL, type RunStatement, SCHEMA, SqlPool } from './sql-pool.ts';

/** Connections of a process for all of its queues, beside the one that listens. */
const POOL_SIZE = 5;
const CONNECT_TIMEOUT_MS = 5_000;
const QUERY_TIMEOUT_MS = 10_000;
const RECONNECT_BASE_MS = 100;
const RECONNECT_MAX_MS = 1_000;
const KEPT_EVENTS = 100;
/** A connection whose other end is gone without a word looks open: it is found out within this and QUERY_TIMEOUT_MS. */
const PROBE_EVERY_MS = 5_000;

interface SqlServer {
  readonly kind: 'postgres' | 'pglite';
  readonly run: RunStatement;
  /** Whether additions from here come back as notifications. */
  readonly notifies: boolean;
  readonly claims: number;
  health(): Health;
  close(): Promise<void>;
}

function sqlBackend(server: SqlServer, prefix: string, pools: Map<string, SqlPool>): Backend {
  return {
    kind: server.kind,
    shared: false,
    now: Date.now,
    claims: server.claims,
    open: (name, settings): Ends => {
      // The schema is the same for everyone, so the prefix is a part of the name.
      const fullName = `${prefix}.${name}`;
      const pool = new SqlPool(server.run);
      pools.set(fullName, pool);
      const queue = new Queue(
        fullName,
        { connection: new SqlPool(server.run), streams: { events: { maxLen: KEPT_EVENTS } } },
        createPostgresBackend,
      );
      const worker = new Worker(
        fullName,
        null,
        { ...settings, connection: pool, autorun: false },
        createPostgresBackend,
      );
      return {
        queue,
        worker,
        wake: () => {
          if (!server.notifies) pool.wake(fullName);
        },
        cut: () => {
          if (pools.get(fullName) === pool) pools.delete(fullName);
        },
      };
    },
    remove: async (name) => {
      const queue = new Queue(
        `${prefix}.${name}`,
        // It would write its settings beside what is removed.
        { connection: new SqlPool(server.run), skipMetasUpdate: true },
        createPostgresBackend,
      );
      queue.on('error', () => undefined); // what is awaited rejects with it
      try {
        await queue.obliterate({ force: true });
      } finally {
        await withinGrace(queue.close());
      }
    },
    assertReachable: () => {
      const { status, detail } = server.health();
      if (status === 'down') throw new Error(detail);
    },
    suspect: () => undefined,
    health: () => server.health(),
    close: () => server.close(),
  };
}

/** BullMQ's migrations, like ours: without timeouts, told in the log, ended by a stop. */
async function migrateQueues(database: Database, log: Logger): Promise<void> {
  const about = log.child({ schema: SCHEMA });
  await withMigrationLock(database, about, async (tx) => {
    const query: RunStatement = async (text, params) => {
      // BullMQ begins and commits by itself; the transaction is there already.
      if (/^(BEGIN|COMMIT|ROLLBACK)$/.test(text)) return { rows: [] };
      if (params) return { rows: await tx.query(text, params) };
      if (/^\s*SELECT\b/.test(text)) return { rows: await tx.query(text) };
      await tx.script(text);
      return { rows: [] };
    };
    await logWhileRunning(about, 'a migration is still running', () => runMigrations({ query } as never, SCHEMA));
  });
}

/**
 * PGlite runs one thing at a time. BullMQ's statements are short, and a claim that waits behind all that goes on in the
 * background comes after its window: they take their turns with those that someone waits for.
 */
export async function pgliteBackend(database: Database, prefix: string, log: Logger): Promise<Backend> {
  await migrateQueues(database, log);
  // PGlite has one session. Every other statement names its schema.
  await database.background.script(`SET search_path TO ${SCHEMA}`);
  const server: SqlServer = {
    kind: 'pglite',
    run: async (text, params) => ({ rows: await database.query(text, params) }),
    notifies: false,
    claims: 64, // one after the other, but all in one turn
    health: () => ({ status: 'up' }),
    close: async () => undefined,
  };
  return sqlBackend(server, prefix, new Map());
}

export interface PostgresBackendOptions {
  readonly postgresUrl: string;
  /** The same one, for the migrations. */
  readonly database: Database;
  readonly prefix: string;
  readonly log: Logger;
}

/** Rejects when the server does not answer. Holds up to 6 connections, however many queues are open. */
export async function postgresBackend(options: PostgresBackendOptions): Promise<Backend> {
  const { postgresUrl: url, database, prefix, log } = options;
  await migrateQueues(database, log);
  const settings: pg.ClientConfig = {
    connectionString: url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    keepAlive: true,
    application_name: 'sluice queues',
    // A queue may be lost, so nobody waits for the disk.
    options: `-c search_path=${SCHEMA} -c synchronous_commit=off`,
  };
  const pool = new pg.Pool({ ...settings, max: POOL_SIZE });
  pool.on('error', () => undefined); // an idle connection ended; the pool replaces it
  const pools = new Map<string, SqlPool>();
  const listener = new Listener(
    settings,
    {
      notified: (name) => pools.get(name)?.wake(name),
      connected: () => {
        for (const [name, each] of pools) each.wake(name);
      },
    },
    log,
  );
  await listener.start();
  const server: SqlServer = {
    kind: 'postgres',
    run: async (text, params) => {
      const query = { text, ...(params ? { values: [...params] } : {}) };
      try {
        return await retryConflicts(() => withClientOf(pool, (client) => send(client, query)));
      } catch (error) {
        throw error instanceof DatabaseUnavailable ? asOutage(error) : error;
      }
    },
    notifies: true,
    claims: 2, // BullMQ lets them take turns, one commit each
    health: () =>
      listener.connected ? { status: 'up' } : { status: 'down', detail: 'the database of the queues is away' },
    close: async () => {
      await listener.stop();
      await pool.end();
    },
  };
  return sqlBackend(server, prefix, pools);
}

/** As the drain and BullMQ know an outage. */
const asOutage = (error: DatabaseUnavailable) =>
  Object.assign(new Error(error.message, { cause: error }), { code: OUTAGE });

interface Ears {
  notified(queueName: string): void;
  /** Connected again: notifications may have been missed. */
  connected(): void;
}

/** One connection that listens for all queues, and comes back by itself. */
class Listener {
  readonly #settings: pg.ClientConfig;
  readonly #ears: Ears;
  readonly #log: Logger;
  #client: pg.Client | undefined;
  #timer: NodeJS.Timeout | undefined;
  #probing: NodeJS.Timeout | undefined;
  #failures = 0;
  #stopped = false;
  #connecting: Promise<void> | undefined;
  connected = false;

  constructor(settings: pg.ClientConfig, ears: Ears, log: Logger) {
    this.#settings = settings;
    this.#ears = ears;
    this.#log = log;
  }

  /** Rejects when the first connection fails. */
  async start(): Promise<void> {
    await this.#connect();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#connecting?.catch(() => undefined);
    clearInterval(this.#probing);
    await this.#client?.end();
  }

  async #connect(): Promise<void> {
    const client = new pg.Client(this.#settings);
    let gone = false;
    const lost = (error?: Error) => {
      if (gone) return;
      gone = true;
      if (this.#stopped) return;
      clearInterval(this.#probing);
      if (this.connected) this.#log.warn({ error: error?.message }, 'the database of the queues is away');
      this.connected = false;
      this.#client = undefined;
      client.end().catch(() => undefined);
      this.#retry();
    };
    client.on('notification', ({ payload }) => {
      if (payload) this.#ears.notified(payload);
    });
    try {
      client.on('error', () => undefined);
      await client.connect();
      await client.query(`LISTEN ${JOBS_CHANNEL}`);
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
    client.on('error', lost);
    client.on('end', () => lost());
    this.#client = client;
    this.#probing = setInterval(() => void client.query('SELECT 1').catch(lost), PROBE_EVERY_MS);
    this.connected = true;
    this.#failures = 0;
    this.#ears.connected();
  }

  #retry(): void {
    if (this.#stopped) return;
    this.#failures++;
    this.#timer = setTimeout(
      () => {
        this.#connecting = this.#connect().then(
          () => this.#log.info('the database of the queues is back'),
          () => this.#retry(),
        );
      },
      backoff(this.#failures, RECONNECT_BASE_MS, RECONNECT_MAX_MS),
    );
  }
}
