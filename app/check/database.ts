// DATABASE_URL: each host. What a start does to the schemas is only compared here.
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import { missingMigrations } from '../../infra/database/migrate.ts';
import { DatabaseUnavailable, StandbyDatabase } from '../../infra/database/port.ts';
import { sessionOn } from '../../infra/database/postgres-connections.ts';
import { PostgresServers } from '../../infra/database/postgres-servers.ts';
import { SessionClient, sessionConfig, socketOf } from '../../infra/database/postgres-session.ts';
import { type PostgresServer, parsePostgresUrl } from '../../infra/database/postgres-url.ts';
import { assertMayMigrate, type Inspected } from '../../infra/database/rights.ts';
import { hostPort, redactUrl } from '../../infra/runtime/server-url.ts';
import type { Config } from '../config.ts';
import { assertMayUse, migrationsBySchema, permanentProblem } from '../prepare-database.ts';
import { migrationsOf } from '../schemas.ts';
import type { Findings, Target } from './report.ts';

/** How long a statement may take. */
const QUERY_MS = 5_000;
const CLOCK_READINGS = 3;

export function databaseTargets(config: Config): Target[] {
  const { DATABASE_URL: url } = config;
  if (!url) return [];
  const server = parsePostgresUrl(url);
  const isList = server.hosts.length > 1;
  return server.hosts.map((host) => ({
    variable: 'DATABASE_URL',
    server: isList ? hostPort(host) : redactUrl(url.trim()),
    check: async (signal) => {
      const findings = await checkDatabase({ ...server, hosts: [host] }, config, signal);
      if (isList || !findings.isStandby) return findings;
      return { ...findings, isStandby: false, problems: findings.facts ?? [], facts: [] };
    },
  }));
}

async function checkDatabase(server: PostgresServer, config: Config, signal: AbortSignal): Promise<Findings> {
  const client = new SessionClient(sessionConfig(new PostgresServers(server, 'sluice check'), QUERY_MS));
  client.on('error', () => undefined); // the statement rejects with it
  const sever = () => socketOf(client).destroy();
  signal.addEventListener('abort', sever);
  try {
    await client.connect().catch((error) => {
      throw new DatabaseUnavailable(error);
    });
    const database: Inspected = { kind: 'postgres', query: sessionOn(client).query };
    const problems = [...(await schemaProblems(database, config)), ...(await queueProblems(database, config))];
    return { ...(await readServer(database, config, problems)), clockDifferenceMs: await readClock(database) };
  } catch (error) {
    const cause = error instanceof DatabaseUnavailable ? error.cause : error;
    if (cause instanceof StandbyDatabase) return { facts: [cause.message], isStandby: true };
    const problem = permanentProblem(error);
    if (problem === undefined) throw cause;
    return { problems: [problem] };
  } finally {
    signal.removeEventListener('abort', sever);
    client.end().catch(() => undefined);
    setTimeout(sever, 500).unref();
  }
}

/** What keeps a start from bringing the schemas up to date, or from using them. */
async function schemaProblems(database: Inspected, { busKind, MIGRATE }: Config): Promise<string[]> {
  const folders = new Map<ServiceName, URL>(serviceNames.map((name) => [name, migrationsOf(name)]));
  const wanted = await migrationsBySchema({ busKind }, folders);
  const problems: string[] = [];
  const old: string[] = [];
  for (const [schema, migrations] of wanted) {
    const problem = await problemOf(async () => {
      const isCurrent = (await missingMigrations(database, schema, migrations)).length === 0;
      if (isCurrent) return assertMayUse(database, schema);
      if (MIGRATE === 'on') return assertMayMigrate(database, schema);
      old.push(schema);
    });
    if (problem !== undefined) problems.push(problem);
  }
  if (old.length === 0) return problems;
  return [`${old.join(', ')} lack migrations: run \`sluice migrate\`, because MIGRATE is off`, ...problems];
}

/** The same for BullMQ's schema, without REDIS_URL. */
async function queueProblems(database: Inspected, { REDIS_URL, MIGRATE }: Config): Promise<string[]> {
  if (REDIS_URL) return [];
  const { assertUsable, isMigrated, SCHEMA } = await import('../../infra/queue/sql-backend.ts');
  const problem = await problemOf(async () => {
    const isCurrent = MIGRATE === 'off' || (await isMigrated(database));
    return isCurrent ? assertUsable(database) : assertMayMigrate(database, SCHEMA);
  });
  return problem === undefined ? [] : [problem];
}

/** What an operator has to change, if `assert` rejects because of it. */
async function problemOf(assert: () => Promise<void>): Promise<string | undefined> {
  try {
    await assert();
    return undefined;
  } catch (error) {
    const problem = permanentProblem(error);
    if (problem === undefined) throw error;
    return problem;
  }
}

interface Facts {
  readonly version: string;
  readonly role: string;
  readonly allowed: number;
  readonly used: number;
}

async function readServer(database: Inspected, config: Config, found: readonly string[]): Promise<Findings> {
  const [facts] = await database.query<Facts>(
    `SELECT split_part(current_setting('server_version'), ' ', 1) AS version, current_user AS role,
       (SELECT min(allowed) FROM (VALUES
         (current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer),
         ((SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)),
         ((SELECT datconnlimit FROM pg_database WHERE datname = current_database()))) AS limits (allowed)
        WHERE allowed >= 0) AS allowed,
       (SELECT count(*)::integer FROM pg_stat_activity WHERE backend_type = 'client backend') AS used`,
  );
  if (!facts) throw new Error('it returns no row');
  const { version, role, allowed, used } = facts;
  const needed = connectionsOf(config);
  const rights = found.length > 0 ? [] : [`the role ${role} has the rights that a start needs`];
  const remedy = 'raise max_connections (or the limit of the role or the database), or lower DATABASE_POOL_SIZE';
  const few = `it allows ${allowed} connections, and a process with all services may hold ${needed}: ${remedy}`;
  return {
    version: `PostgreSQL ${version}`,
    facts: [...rights, `${used} of ${allowed} connections in use, a process may hold ${needed}`],
    problems: allowed < needed ? [...found, few] : found,
  };
}

/** The most connections of a process with all services, as docs/operations.md adds them up. */
function connectionsOf({ DATABASE_POOL_SIZE: pool, REDIS_URL, PAYMENT_URL, busKind }: Config): number {
  const longRunning = 2;
  const queues = REDIS_URL ? 0 : 6;
  const locks = (REDIS_URL ? 0 : 1) + (PAYMENT_URL ? 0 : 1) + (busKind === 'mqtt' ? serviceNames.length : 0);
  return pool + longRunning + queues + locks;
}

/** The server's time minus this machine's, by the reading with the shortest round trip. */
async function readClock(database: Inspected): Promise<number> {
  let best = { tookMs: Number.POSITIVE_INFINITY, differenceMs: 0 };
  for (let reading = 0; reading < CLOCK_READINGS; reading++) {
    const [asked, startedAt] = [Date.now(), performance.now()];
    const [row] = await database.query<{ now: Date }>('SELECT clock_timestamp() AS now');
    const tookMs = performance.now() - startedAt;
    if (row && tookMs < best.tookMs) best = { tookMs, differenceMs: row.now.getTime() - (asked + tookMs / 2) };
  }
  return best.differenceMs;
}
