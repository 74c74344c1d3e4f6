// BullMQ's queues in a database. Only one process drains a queue at a time, because BullMQ takes locks and windows by
// the worker's clock there.
import { EventEmitter } from 'node:events';
import {
  assertSchemaCompatibility,
  createPostgresBackend,
  LATEST_SCHEMA_VERSION,
  type PgPool,
  type PgPoolClient,
  type PgQueryResult,
  Queue,
  runMigrations,
  SchemaVersionMismatchError,
  Worker,
} from 'bullmq';
import type { Logger } from 'pino';
import { createSchema, logWhileRunning, notMigrated, tableExists, withMigrationLock } from '../database/migrate.ts';
import { type Database, UnsuitableDatabase } from '../database/port.ts';
import { assertMayCreate, assertRights, type Inspected } from '../database/rights.ts';
import type { Health } from '../runtime/health.ts';
import { reasonOf } from '../runtime/reason.ts';
import { type Backend, type Connections, obliterate, streams, type WorkerSettings } from './backend.ts';

export type RunStatement = (text: string, params?: readonly unknown[]) => Promise<PgQueryResult>;

/** BullMQ's own schema, which its statements find by the search_path. */
export const SCHEMA = 'bullmq';

/** BullMQ notifies its workers on this channel, with the queue's name as the payload. */
export const JOBS_CHANNEL = 'bullmq_jobs';

/** Runs BullMQ's migrations like ours: without timeouts, logged while they run, ended by a stop. */
export async function migrateQueues(database: Database, parentLog: Logger): Promise<void> {
  if (await isMigrated(database)) return;
  const log = parentLog.child({ schema: SCHEMA });
  await withMigrationLock(database, log, async (tx) => {
    await createSchema(tx, SCHEMA);
    const query: RunStatement = async (text, params) => {
      // BullMQ's own transaction would end this one, and the schema exists (see migrate).
      if (/^(BEGIN|COMMIT|ROLLBACK|CREATE SCHEMA .*)$/.test(text)) return { rows: [] };
      if (params) return { rows: await tx.query(text, params) };
      if (/^\s*SELECT\b/.test(text)) return { rows: await tx.query(text) };
      await tx.script(text);
      return { rows: [] };
    };
    await logWhileRunning(log, 'a migration is still running', () => runMigrations({ query } as never, SCHEMA));
  });
}

/** Whether BullMQ's schema exists and is up to date. Rejects with UnsuitableDatabase if it is newer. */
export const isMigrated = async (database: Inspected): Promise<boolean> =>
  (await versionOf(database)) >= LATEST_SCHEMA_VERSION;

/** Rejects with UnsuitableDatabase unless BullMQ's schema is up to date and the role has its rights on it. */
export async function assertUsable(database: Inspected): Promise<void> {
  if (!(await isMigrated(database))) throw notMigrated(SCHEMA, `version ${LATEST_SCHEMA_VERSION} of BullMQ`);
  await assertRights(database, SCHEMA);
  await assertMayCreate(database, SCHEMA); // BullMQ creates a sequence for each queue
}

/** Of BullMQ's schema; 0 if it is missing. */
async function versionOf(database: Inspected): Promise<number> {
  if (!(await tableExists(database, SCHEMA, 'migration'))) return 0;
  const query: RunStatement = async (text, params) => ({ rows: await database.query(text, params) });
  try {
    return await assertSchemaCompatibility({ query } as never, SCHEMA);
  } catch (error) {
    throw error instanceof SchemaVersionMismatchError ? new UnsuitableDatabase(reasonOf(error), error) : error;
  }
}

export abstract class SqlBackend implements Backend {
  abstract readonly kind: Backend['kind'];
  readonly shared = false;
  abstract readonly concurrentClaims: number;
  /** Whether additions of this process come back as notifications. */
  protected abstract readonly notifies: boolean;
  protected abstract readonly run: RunStatement;
  protected readonly database: Database;
  protected readonly log: Logger;
  readonly #prefix: string;
  /** The workers' pools, by the queue's full name. */
  readonly #pools = new Map<string, SqlPool>();

  constructor(database: Database, prefix: string, log: Logger) {
    this.database = database;
    this.log = log;
    this.#prefix = prefix;
  }

  /** Brings BullMQ's schema up to date, or only checks it. Rejects if the server does not respond. */
  async start({ migrate }: { readonly migrate: boolean }): Promise<void> {
    if (migrate) await migrateQueues(this.database, this.log);
    await assertUsable(this.database);
  }

  abstract health(): Health;
  abstract interrupt(): void;
  abstract close(): Promise<void>;

  /** Wakes the worker of a queue that may have new jobs; without a name, all workers. */
  protected wake(fullName?: string): void {
    if (fullName !== undefined) this.#pools.get(fullName)?.wake(fullName);
    else for (const [name, pool] of this.#pools) pool.wake(name);
  }

  now(): number {
    return Date.now();
  }

  open(name: string, settings: WorkerSettings): Connections {
    const fullName = this.#fullName(name);
    const pool = new SqlPool(this.run);
    this.#pools.set(fullName, pool);
    const workerOptions = { ...settings, connection: pool, autorun: false };
    return {
      queue: new Queue(fullName, { connection: new SqlPool(this.run), streams }, createPostgresBackend),
      worker: new Worker(fullName, null, workerOptions, createPostgresBackend),
      wake: () => {
        if (!this.notifies) pool.wake(fullName);
      },
      sever: () => {
        if (this.#pools.get(fullName) === pool) this.#pools.delete(fullName);
      },
    };
  }

  remove(name: string): Promise<void> {
    const options = { connection: new SqlPool(this.run), skipMetasUpdate: true };
    return obliterate(new Queue(this.#fullName(name), options, createPostgresBackend));
  }

  canWork(): boolean {
    return this.health().status !== 'down';
  }

  assertReachable(): void {
    const { status, detail } = this.health();
    if (status === 'down') throw new Error(detail);
  }

  /** Does nothing: the pool replaces a dead connection after the query timeout. */
  renewConnection(): void {}

  /** All systems share one schema, so the prefix is a part of the name. */
  #fullName(name: string): string {
    return `${this.#prefix}.${name}`;
  }
}

/**
 * The part of pg.Pool that BullMQ's PostgreSQL backend uses, for one queue or worker, on top of any function that runs
 * a statement. The pool is at the same time the client that connect() returns: BullMQ borrows one to check BullMQ's
 * schema, and keeps one for each worker's notifications. All queues share connections, whereas BullMQ would keep one
 * connection per worker.
 */
class SqlPool extends EventEmitter implements PgPool, PgPoolClient {
  readonly #run: RunStatement;

  constructor(run: RunStatement) {
    super();
    this.#run = run;
  }

  // The type of a row is BullMQ's assertion, as with pg.
  // biome-ignore lint/suspicious/noExplicitAny: as in the interface
  async query<R = any>(text: string, params?: readonly unknown[]): Promise<PgQueryResult<R>> {
    // Both configure a connection, which this pool does not have: notifications come by wake().
    if (/^\s*LISTEN\b/i.test(text) || text.includes("set_config('application_name'")) return { rows: [] };
    return this.#run(text, params);
  }

  async connect(): Promise<PgPoolClient> {
    return this;
  }

  release(): void {}

  /** Does not end the connections. */
  async end(): Promise<void> {}

  /** Notifies the queue's worker that there may be new jobs. */
  wake(queueName: string): void {
    this.emit('notification', { channel: JOBS_CHANNEL, payload: queueName });
  }
}
