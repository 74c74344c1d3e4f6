// Brings the schemas of a PostgreSQL database up to date, with a role that may change them; the services then start
// with MIGRATE=off.
import { serviceNames } from '../contracts/services.ts';
import { openPostgres } from '../infra/database/postgres.ts';
import { createLog } from '../infra/observability/log.ts';
import { ConfigError } from '../infra/runtime/settings.ts';
import { parseConfig } from './config.ts';
import { awaitDatabase, migrateSchemas, retryUntilAvailable } from './prepare-database.ts';
import { migrationsOf } from './schemas.ts';

/** Rejects with a ConfigError or a StartupError, and with the signal's reason if the signal cancelled it. */
export async function migrateDatabase(env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<void> {
  const config = { ...parseConfig(env), MIGRATE: 'on' } as const;
  const { DATABASE_URL: url, REDIS_URL, LOG_LEVEL: level, LOG_FORMAT } = config;
  if (!url) throw new ConfigError(['DATABASE_URL is missing: an embedded database is migrated when it starts']);
  const pretty = LOG_FORMAT === 'pretty' || (LOG_FORMAT === 'auto' && process.stdout.isTTY === true);
  const log = createLog({ level, pretty });
  const database = openPostgres({ url, poolSize: 2, log });
  const interrupt = () => database.interrupt();
  signal.addEventListener('abort', interrupt);
  const start = { config, log, signal };
  try {
    await awaitDatabase(database, start);
    await migrateSchemas(database, start, new Map(serviceNames.map((name) => [name, migrationsOf(name)])));
    if (!REDIS_URL) {
      // Imported here, because BullMQ takes long to load.
      const { migrateQueues } = await import('../infra/queue/sql-backend.ts');
      await retryUntilAvailable(start, () => migrateQueues(database, log));
    }
    log.info('the schemas are up to date');
  } finally {
    signal.removeEventListener('abort', interrupt);
    await database.close();
  }
}
