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

/** Resolves when the database answers. Rejects with a StartupError. */
export const awaitDatabase = (database: Database, config: Config, log: Logger): Promise<void> =>
  whenThere(config, log, async () => {
    await database.query('SELECT 1');
  });

/**
 * Migrates the schemas of the services that run here. With the local bus also the inboxes of the others, as publishing
 * writes into them: an event is never published before there is a place for it.
 */
export async function migrateSchemas(
  database: Database,
  config: Config,
  migrations: ReadonlyMap<ServiceName, URL>,
  log: Logger,
): Promise<void> {
  const messaging = await readMigrations(MESSAGING_MIGRATIONS, 'messaging');
  await whenThere(config, log, async () => {
    for (const name of serviceNames) {
      const folder = migrations.get(name);
      if (!folder && config.busKind !== 'local') continue;
      const own = folder ? await readMigrations(folder, name) : [];
      await migrate(database, schemaOf(name), [...messaging, ...own]);
    }
  });
}

async function whenThere(config: Config, log: Logger, work: () => Promise<void>): Promise<void> {
  const url = redactUrl(config.DATABASE_URL ?? config.DATA_DIR);
  const deadline = performance.now() + DATABASE_WAIT_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable)) {
        throw new StartupError(`the database at ${url} cannot be prepared: ${(error as Error).message}`, {
          cause: error,
        });
      }
      // A wrong password or a database that does not exist will not mend itself: SQLSTATE classes 28 and 3D.
      const { code } = (error.cause ?? {}) as { code?: unknown };
      const hopeless = typeof code === 'string' && /^(28|3D)/.test(code);
      if (hopeless || performance.now() > deadline) {
        throw new StartupError(`the database at ${url} does not answer (DATABASE_URL): ${error.message}`, {
          cause: error,
        });
      }
      log.warn({ error: error.message }, 'waiting for the database');
      await delay(500);
    }
  }
}
