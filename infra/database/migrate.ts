// Migrations: numbered SQL files, each applied once, in order, in their schema. Several processes may start at once:
// the first takes a lock, and the others find the schema migrated. A migration of a large table has no timeout, and the
// log reports it while it runs.
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type Logger, pino } from 'pino';
import type { Database, Transaction } from './port.ts';

/** How often a process that waits for the lock tries to take it. */
const LOCK_POLL_MS = 100;
/** Work that takes longer than this is logged, and again after each interval. */
const LOG_AFTER_MS = 1_000;
const LOG_EVERY_MS = 10_000;
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

/** Applies the migrations that a schema lacks. `schema` is a name from the code, never input. */
export async function migrate(
  database: Pick<Database, 'longRunning'>,
  schema: string,
  migrations: readonly Migration[],
  log: Logger = silent,
): Promise<void> {
  await withMigrationLock(database, log.child({ schema }), async (tx) => {
    await tx.script(`
      CREATE SCHEMA IF NOT EXISTS ${schema};
      CREATE TABLE IF NOT EXISTS ${schema}.migrations
        (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
      SET LOCAL search_path TO ${schema};
    `);
    const applied = new Set((await tx.query<{ name: string }>('SELECT name FROM migrations')).map(({ name }) => name));
    for (const { name, sql } of migrations) {
      if (applied.has(name)) continue;
      const migrationLog = log.child({ schema, migration: name });
      migrationLog[applied.size > 0 ? 'info' : 'debug']('migrating'); // in a new schema the tables are empty
      await logWhileRunning(migrationLog, 'a migration is still running', () => tx.script(sql));
      await tx.execute('INSERT INTO migrations (name) VALUES ($1)', [name]);
    }
  });
}

/** Runs `work` in a transaction without timeouts, in one process at a time. */
export async function withMigrationLock(
  database: Pick<Database, 'longRunning'>,
  log: Logger,
  work: (tx: Transaction) => Promise<void>,
): Promise<void> {
  await database.longRunning.transaction(async (tx) => {
    const [server] = await tx.query<{ version: number }>(
      "SELECT current_setting('server_version_num')::integer AS version",
    );
    if (server && server.version < 140_000)
      throw new Error(`PostgreSQL 14 or newer is needed, this is ${Math.floor(server.version / 10_000)}`);
    // One lock for all schemas, because concurrent CREATE SCHEMA IF NOT EXISTS statements fail. Polled, so that a stop
    // need not wait for it.
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
