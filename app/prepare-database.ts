// Waits for a database that is still starting, and migrates the schemas.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type ServiceName, serviceNames } from '../contracts/services.ts';
import { assertMigrated, type Migration, migrate, readMigrations } from '../infra/database/migrate.ts';
import { type Database, DatabaseUnavailable, NoUsableHost, UnsuitableDatabase } from '../infra/database/port.ts';
import { assertRights, type Inspected, MAY_NOT_MIGRATE, READ_AND_ADD } from '../infra/database/rights.ts';
import { ADMIN_MIGRATIONS, ADMIN_SCHEMA } from '../infra/operators/operator-actions.ts';
import { isCertificateRejected, reasonOf } from '../infra/runtime/reason.ts';
import { redactUrl } from '../infra/runtime/server-url.ts';
import { StartFailed, StartupError } from '../infra/runtime/startup-error.ts';
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
 * Migrates the schemas of the services in this process, and the one that all share. With the local bus it also migrates
 * the inboxes of all others, because publishing writes to them. With MIGRATE=off it only checks that they are migrated.
 */
export async function migrateSchemas(
  database: Database,
  start: Start,
  migrations: ReadonlyMap<ServiceName, URL>,
): Promise<void> {
  const wanted = await migrationsBySchema(start.config, migrations);
  await prepare(start, async () => {
    for (const [schema, its] of wanted) {
      if (start.config.MIGRATE === 'on') await migrate(database, schema, its, start.log);
      else await assertMigrated(database, schema, its);
    }
    for (const schema of wanted.keys()) await assertMayUse(database, schema);
  });
}

/** Rejects with UnsuitableDatabase unless the role has the rights on this schema that a process needs. */
export const assertMayUse = (database: Inspected, schema: string): Promise<void> =>
  assertRights(database, schema, schema === ADMIN_SCHEMA ? READ_AND_ADD : undefined);

/** The migrations of each schema that a process uses; `folders`: those of the services that it runs. */
export async function migrationsBySchema(
  { busKind }: Pick<Config, 'busKind'>,
  folders: ReadonlyMap<ServiceName, URL>,
): Promise<ReadonlyMap<string, readonly Migration[]>> {
  const messaging = await readMigrations(MESSAGING_MIGRATIONS, 'messaging');
  const wanted = new Map<string, readonly Migration[]>();
  for (const name of serviceNames) {
    const folder = folders.get(name);
    if (!folder && busKind !== 'local') continue;
    const own = folder ? await readMigrations(folder, name) : [];
    wanted.set(schemaOf(name), [...messaging, ...own]);
  }
  wanted.set(ADMIN_SCHEMA, await readMigrations(ADMIN_MIGRATIONS.folder, ADMIN_MIGRATIONS.set));
  return wanted;
}

/**
 * Retries `work` while the database is unavailable. Rejects with a StartupError if an operator must change the database,
 * with StartFailed after DATABASE_WAIT_MS, with the signal's reason, or with any other error unchanged.
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
      const problem = permanentProblem(error);
      if (problem) throw new StartupError(`the database at ${locationOf(config)} cannot be used: ${problem}`);
      if (!(error instanceof DatabaseUnavailable)) throw error;
      deadline ??= performance.now() + DATABASE_WAIT_MS;
      if (performance.now() > deadline) throw startFailed(config, 'does not respond (check DATABASE_URL)', error);
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
    throw startFailed(start.config, 'cannot be prepared', error as Error);
  }
}

/** What an operator has to change; undefined if a later attempt may succeed, and for any other error. */
export function permanentProblem(error: unknown): string | undefined {
  const cause = error instanceof DatabaseUnavailable ? error.cause : error;
  if (!(cause instanceof Error)) return undefined;
  if (cause instanceof NoUsableHost) return problemOfAll(cause);
  if (cause instanceof UnsuitableDatabase) return cause.message;
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  if (code === INSUFFICIENT_PRIVILEGE) return `${cause.message}: ${MAY_NOT_MIGRATE}`;
  // The server rejects the connection because of a wrong password or a missing database (SQLSTATE classes 28 and 3D), or
  // has no TLS, for which pg's error has only this text.
  const isRejected = /^(28|3D)/.test(code) || cause.message === 'The server does not support SSL connections';
  if (!(error instanceof DatabaseUnavailable)) return undefined;
  return isRejected || isCertificateRejected(cause) ? `${reasonOf(cause)} (DATABASE_URL)` : undefined;
}

/** As long as one host may become usable, a later attempt may succeed. */
function problemOfAll({ errors }: NoUsableHost): string | undefined {
  const problems = errors.map((error) =>
    permanentProblem(error instanceof DatabaseUnavailable ? error : new DatabaseUnavailable(error)),
  );
  return problems.includes(undefined) ? undefined : [...new Set(problems)].join('; ');
}

/** SQLSTATE */
const INSUFFICIENT_PRIVILEGE = '42501';

const locationOf = ({ DATABASE_URL, DATA_DIR }: Config) => redactUrl(DATABASE_URL ?? DATA_DIR);

const startFailed = (config: Config, problem: string, cause: Error) =>
  new StartFailed(`the database at ${locationOf(config)} ${problem}: ${reasonOf(cause)}`, { cause });
