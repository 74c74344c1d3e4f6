// Migrations: numbered SQL files, each applied once, in order, in their schema. Several processes may start at once:
// the first takes a lock, and the others find the schema migrated. A migration of a large table has no timeout, and the
// log reports it while it runs.
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type Logger, pino } from 'pino';
import { type Database, type Queryable, type Transaction, UnsuitableDatabase } from './port.ts';

/** How often a process that waits for the lock tries to take it. */
const LOCK_POLL_MS = 100;
/** Work that takes longer than this is logged, and again after each interval. */
const LOG_AFTER_MS = 1_000;
const LOG_EVERY_MS = 10_000;
/** The table of a schema's applied migrations. */
const LEDGER = 'migrations';
const silent = pino({ level: 'silent' });

export interface Migration {
  readonly name: string;
  /** Statements with unqualified names, run with `search_path` set to the schema. */
  readonly sql: string;
}

/** The files `001_….sql`, `002_….sql` of a folder, in order. `set` distinguishes folders that share a schema. */
export async function readMigrations(folder: URL, set: string): Promise<Migration[]> {
  const files = (await readdir(folder)).filter((file) => /^\d{3}_.*\.sql$/.test(file)).sort();
  return Promise.all(
    files.map(async (file) => ({ name: `${set}/${file}`, sql: await readFile(new URL(file, folder), 'utf8') })),
  );
}

/**
 * Applies the migrations that a schema lacks. `schema` is a name from the code, never input. Creates the schema only if
 * it is missing, because PostgreSQL requires the right to create one even for CREATE SCHEMA IF NOT EXISTS.
 */
export async function migrate(
  database: Pick<Database, 'longRunning'>,
  schema: string,
  migrations: readonly Migration[],
  log: Logger = silent,
): Promise<void> {
  if ((await missingMigrations(database.longRunning, schema, migrations)).length === 0) return;
  await withMigrationLock(database, log.child({ schema }), async (tx) => {
    await createSchema(tx, schema);
    if (!(await tableExists(tx, schema, LEDGER)))
      await tx.script(
        `CREATE TABLE ${schema}.${LEDGER} (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`,
      );
    const applied = await appliedMigrations(tx, schema);
    await tx.script(`SET LOCAL search_path TO ${schema}`);
    for (const { name, sql } of migrations) {
      if (applied.has(name)) continue;
      const migrationLog = log.child({ schema, migration: name });
      migrationLog[applied.size > 0 ? 'info' : 'debug']('migrating'); // in a new schema the tables are empty
      await logWhileRunning(migrationLog, 'a migration is still running', () => tx.script(sql));
      await tx.execute('INSERT INTO migrations (name) VALUES ($1)', [name]);
    }
  });
}

/** Rejects with UnsuitableDatabase unless all migrations are applied. */
export async function assertMigrated(
  database: Queryable,
  schema: string,
  migrations: readonly Migration[],
): Promise<void> {
  const missing = await missingMigrations(database, schema, migrations);
  if (missing.length > 0) throw notMigrated(schema, missing.map(({ name }) => name).join(', '));
}

export const notMigrated = (schema: string, missing: string) =>
  new UnsuitableDatabase(`the schema ${schema} lacks ${missing}: run \`sluice migrate\`, because MIGRATE is off`);

/** Those that the schema lacks; all of them if there is no schema. */
export async function missingMigrations(
  database: Pick<Queryable, 'query'>,
  schema: string,
  migrations: readonly Migration[],
) {
  const applied = (await tableExists(database, schema, LEDGER)) ? await appliedMigrations(database, schema) : new Set();
  return migrations.filter(({ name }) => !applied.has(name));
}

async function appliedMigrations(database: Pick<Queryable, 'query'>, schema: string): Promise<ReadonlySet<string>> {
  const rows = await database.query<{ name: string }>(`SELECT name FROM ${schema}.${LEDGER}`);
  return new Set(rows.map(({ name }) => name));
}

/** Needs no right on the schema. */
export async function tableExists(database: Pick<Queryable, 'query'>, schema: string, table: string): Promise<boolean> {
  const rows = await database.query(
    `SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = $1 AND relname = $2`,
    [schema, table],
  );
  return rows.length > 0;
}

export async function createSchema(tx: Transaction, schema: string): Promise<void> {
  const existing = await tx.query('SELECT FROM pg_namespace WHERE nspname = $1', [schema]);
  if (existing.length === 0) await tx.script(`CREATE SCHEMA ${schema}`);
}

/** Runs `work` in a transaction without timeouts, in one process at a time. */
export async function withMigrationLock(
  database: Pick<Database, 'longRunning'>,
  log: Logger,
  work: (tx: Transaction) => Promise<void>,
): Promise<void> {
  await database.longRunning.transaction(async (tx) => {
    // One lock for all schemas, because concurrent CREATE SCHEMA statements fail. Polled, so that a stop need not wait
    // for it.
    const locked = async () => {
      for (;;) {
        const [lock] = await tx.query<{ taken: boolean }>(
          "SELECT pg_try_advisory_xact_lock(hashtextextended('sluice migrations', 0)) AS taken",
        );
        if (lock?.taken) return;
        await delay(LOCK_POLL_MS);
      }
    };
    await logWhileRunning(log, 'waiting to migrate: another process holds the migration lock', locked);
    await work(tx);
  });
}

/** Logs `message` while `work` takes long. */
export async function logWhileRunning(log: Logger, message: string, work: () => Promise<unknown>): Promise<void> {
  const startedAt = performance.now();
  const logAgain = () => {
    log.info({ seconds: Math.round((performance.now() - startedAt) / 1_000) }, message);
    timer = setTimeout(logAgain, LOG_EVERY_MS);
  };
  let timer = setTimeout(logAgain, LOG_AFTER_MS);
  try {
    await work();
  } finally {
    clearTimeout(timer);
  }
}
