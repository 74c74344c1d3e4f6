// Waits for a database that is itself starting, and brings the schemas up to date.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type ServiceName, serviceNames } from '../contracts/services.ts';
import { migrate, readMigrations } from '../infra/database/migrate.ts';
import { type Database, DatabaseUnavailable } from '../infra/database/port.ts';
import { redactUrl } from '../infra/runtime/settings.ts';
import { StartupError } from '../infra/runtime/startup-error.ts';
import type { Config } from './config.ts';
import { schemaOf } from './schemas.ts';

/** How long a start waits for a PostgreSQL that is itself starting. */
const DATABASE_WAIT_MS = 30_000;
const MESSAGING_MIGRATIONS = new URL('../infra/messaging/migrations/', import.meta.url);

/** A start under way. */
export interface Start {
  readonly config: Config;
  readonly log: Logger;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Resolves when the database answers. Rejects with a StartupError, or with the signal's reason. */
export const awaitDatabase = (database: Database, start: Start): Promise<void> =>
  prepare(start, () => database.query('SELECT 1'));

/**
 * Migrates the schemas of the services that run here. With the local bus also the inboxes of the others, as publishing
 * writes into them: an event is never published before there is a place for it.
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
 * Runs `work` again until the database answers. Rejects with a StartupError if it does not within DATABASE_WAIT_MS, with
 * the signal's reason, and with every other error as it is.
 */
export async function whenThere<T>({ config, log, signal }: Start, work: () => Promise<T>): Promise<T> {
  /** From the first failure: what was done before may have taken long. */
  let deadline: number | undefined;
  for (;;) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof DatabaseUnavailable)) throw error;
      // A wrong password or a database that does not exist does not fix itself: SQLSTATE classes 28 and 3D.
      const { code } = (error.cause ?? {}) as { code?: unknown };
      const hopeless = typeof code === 'string' && /^(28|3D)/.test(code);
      deadline ??= performance.now() + DATABASE_WAIT_MS;
      if (hopeless || performance.now() > deadline) {
        throw new StartupError(`the database at ${placeOf(config)} does not answer (DATABASE_URL): ${error.message}`, {
          cause: error,
        });
      }
      log.warn({ error: error.message }, 'waiting for the database');
      await delay(500, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** Runs a preparation step once the database is available. Any error stops the start with a plain message. */
async function prepare(start: Start, work: () => Promise<unknown>): Promise<void> {
  try {
    await whenThere(start, work);
  } catch (error) {
    start.signal.throwIfAborted();
    if (error instanceof StartupError) throw error;
    const place = placeOf(start.config);
    throw new StartupError(`the database at ${place} cannot be prepared: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

const placeOf = ({ DATABASE_URL, DATA_DIR }: Config) => redactUrl(DATABASE_URL ?? DATA_DIR);
