// Waits for a database that is still starting, and migrates the schemas.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type ServiceName, serviceNames } from '../contracts/services.ts';
import { migrate, readMigrations } from '../infra/database/migrate.ts';
import { type Database, DatabaseUnavailable } from '../infra/database/port.ts';
import { redactUrl } from '../infra/runtime/settings.ts';
import { StartupError } from '../infra/runtime/startup-error.ts';
import type { Config } from './config.ts';
import { schemaOf } from './schemas.ts';

/** How long a start waits for a PostgreSQL that is still starting. */
const DATABASE_WAIT_MS = 30_000;
const MESSAGING_MIGRATIONS = new URL('../infra/messaging/migrations/', import.meta.url);

export interface Start {
  readonly config: Config;
  readonly log: Logger;
  /** Cancels the start. */
  readonly signal: AbortSignal;
}

/** Resolves when the database responds. Rejects with a StartupError, or with the signal's reason. */
export const awaitDatabase = (database: Database, start: Start): Promise<void> =>
  prepare(start, () => database.query('SELECT 1'));

/**
 * Migrates the schemas of the services in this process. With the local bus it also migrates the inboxes of all others,
 * because publishing writes to them.
 */
export async function migrateSchemas(
  database: Database,
  start: Start,
  migrations: ReadonlyMap<ServiceName, URL>,
): Promise<void> {
  const messaging = await readMigrations(MESSAGING_MIGRATIONS, 'messaging');
  await prepare(start, async () => {
    for (const name of serviceNames) {
      const folder = migrations.get(name);
      if (!folder && start.config.busKind !== 'local') continue;
      const own = folder ? await readMigrations(folder, name) : [];
      await migrate(database, schemaOf(name), [...messaging, ...own], start.log);
    }
  });
}

/**
 * Retries `work` while the database is unavailable. Rejects with a StartupError after DATABASE_WAIT_MS, with the
 * signal's reason, or with any other error unchanged.
 */
export async function retryUntilAvailable<T>({ config, log, signal }: Start, work: () => Promise<T>): Promise<T> {
  /** Counted from the first failure, because `work` may have run for long before it. */
  let deadline: number | undefined;
  for (;;) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof DatabaseUnavailable)) throw error;
      // A wrong password or a missing database needs an operator: SQLSTATE classes 28 and 3D.
      const { code } = (error.cause ?? {}) as { code?: unknown };
      const isPermanent = typeof code === 'string' && /^(28|3D)/.test(code);
      deadline ??= performance.now() + DATABASE_WAIT_MS;
      if (isPermanent || performance.now() > deadline)
        throw databaseError(config, 'cannot be used (check DATABASE_URL)', error);
      log.warn({ error: error.message }, 'waiting for the database');
      await delay(500, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** Runs a preparation step once the database is available. Any error stops the start with a plain message. */
async function prepare(start: Start, work: () => Promise<unknown>): Promise<void> {
  try {
    await retryUntilAvailable(start, work);
  } catch (error) {
    start.signal.throwIfAborted();
    if (error instanceof StartupError) throw error;
    throw databaseError(start.config, 'cannot be prepared', error as Error);
  }
}

const databaseError = ({ DATABASE_URL, DATA_DIR }: Config, problem: string, cause: Error) =>
  new StartupError(`the database at ${redactUrl(DATABASE_URL ?? DATA_DIR)} ${problem}: ${cause.message}`, { cause });
