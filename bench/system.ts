// The system as it is measured: compiled code with its default settings, in processes of its own, on fresh data and
// private servers; its log goes to a file, as in production. `embedded`: everything in one process without any setting.
// `separate`: a process per service, on PostgreSQL, RabbitMQ and Mosquitto, and on Redis if requested.
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PGlite } from '@electric-sql/pglite';
import pg from 'pg';
import { serviceNames } from '../contracts/services.ts';
import { serverFolder } from '../demos/shared/folder.ts';
import { startMosquitto } from '../test/servers/mosquitto.ts';
import { freePort } from '../test/servers/ports.ts';
import { startPostgres } from '../test/servers/postgres.ts';
import { processRunner } from '../test/servers/process-runner.ts';
import { startRabbitmq } from '../test/servers/rabbitmq.ts';
import { startRedis } from '../test/servers/redis.ts';
import { type LocalServer, ServerGroup, startServer } from '../test/servers/server.ts';
import type { Query } from './stored-totals.ts';
import { using } from './using.ts';

export type Mode = 'embedded' | 'separate';
export const MODES: readonly Mode[] = ['embedded', 'separate'];

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const COMMON = { HOST: '127.0.0.1', NODE_ENV: 'production', LOG_FORMAT: 'json' };

const SETTINGS = `SELECT name, setting FROM pg_settings
  WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'server_version') ORDER BY name`;

export type System = Awaited<ReturnType<typeof startSystem>>;

/**
 * A start that fails leaves nothing behind. `redis`: Redis paces the flash sales' queues, when separate. Each process
 * writes a CPU profile to `profileFolder` when it stops.
 */
export async function startSystem(mode: Mode, redis: boolean, profileFolder?: string) {
  const group = new ServerGroup();
  try {
    const servers = mode === 'separate' ? await startServers(group, redis) : undefined;
    const env = { ...COMMON, ...(servers?.env ?? { MQTT_PORT: '0' }) };
    const processes: Awaited<ReturnType<typeof startProcess>>[] = [];
    for (const name of servers ? serviceNames : ['all']) {
      const started = await startProcess(name, env, profileFolder);
      group.add(started.server);
      processes.push(started);
    }
    const urlOf = (service: string) => processes.find(({ name }) => name === service || name === 'all')?.url ?? '';
    const running = Object.entries<LocalServer>({
      ...Object.fromEntries(processes.map(({ name, server }) => [name, server])),
      ...servers?.running,
    });
    // An embedded database is in DATA_DIR's default, below the process's own folder.
    const dataDir = join(processes[0]?.folder ?? '', '.data', 'database');
    return {
      mode,
      /** Of the order service. */
      url: urlOf('order'),
      flashSaleUrl: urlOf('flash-sale'),
      /** Of all processes. */
      urls: processes.map(({ url }) => url),
      /** Main processes by name, the servers' too; a server's children are found by their parent. */
      pids: Object.fromEntries(running.map(([name, { pid = 0 }]) => [name, pid])),
      /** Undefined when embedded. */
      amqpUrl: servers?.env.AMQP_URL,
      /**
       * Stops the services cleanly and lets `read` query what they stored; the servers keep running. `settings`: the
       * database's durability, as the database reports it.
       */
      async stopServices<T>(read: (query: Query) => Promise<T>) {
        await Promise.all(processes.map(({ server }) => server.kill('SIGTERM')));
        const readAll = async (query: Query) => {
          const rows = await query(SETTINGS);
          const settings = Object.fromEntries(rows.map(({ name, setting }) => [String(name), String(setting)]));
          return { stored: await read(query), settings };
        };
        return servers ? queryPostgres(servers.env.DATABASE_URL, readAll) : queryPglite(dataDir, readAll);
      },
      /** Ends all processes and removes all data. Safe to call twice. */
      remove: () => group.stop(),
    };
  } catch (error) {
    await group.stop();
    throw error;
  }
}

/** One after the other, so that the group has all servers that were started. */
async function startServers(group: ServerGroup, withRedis: boolean) {
  const postgres = group.add(await startPostgres());
  const rabbitmq = group.add(await startRabbitmq());
  const mosquitto = group.add(await startMosquitto());
  const redis = withRedis ? group.add(await startRedis()) : undefined;
  return {
    running: { postgres, rabbitmq, mosquitto, ...(redis && { redis }) },
    env: {
      DATABASE_URL: postgres.url,
      AMQP_URL: rabbitmq.amqpUrl,
      MQTT_URL: mosquitto.mqttUrl,
      PAYMENT_URL: 'http://127.0.0.1:9', // no order is paid, and no server listens there
      ...(redis && { REDIS_URL: redis.redisUrl }),
    },
  };
}

/** `name`: a service, or `all`. */
async function startProcess(name: string, env: Readonly<Record<string, string>>, profileFolder: string | undefined) {
  const folder = await serverFolder(`bench-${name}`);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const profiling = profileFolder
    ? ['--cpu-prof', `--cpu-prof-dir=${resolve(profileFolder)}`, `--cpu-prof-name=${name}.cpuprofile`]
    : [];
  const runner = await processRunner(folder, {
    command: process.execPath,
    args: [...profiling, MAIN, 'start', ...(name === 'all' ? [] : [name])],
    env: { PATH: process.env.PATH ?? '', ...env, PORT: String(port) },
  });
  const ready = async () => {
    const { status } = await fetch(`${url}/readyz`);
    if (status !== 200) throw new Error(`/readyz answers ${status}`);
  };
  const server = await startServer({ name: `sluice ${name}`, runner, ready, cleanSignal: 'SIGTERM' });
  return { name, server, url, folder };
}

const queryPostgres = <T>(url: string, read: (query: Query) => Promise<T>): Promise<T> =>
  using(
    new pg.Client({ connectionString: url }),
    (client) => client.end(),
    async (client) => {
      await client.connect();
      return read(async (sql, params) => (await client.query(sql, params)).rows);
    },
  );

const queryPglite = <T>(dataDir: string, read: (query: Query) => Promise<T>): Promise<T> =>
  using(
    PGlite.create({ dataDir }),
    (pglite) => pglite.close(),
    (pglite) => read(async (sql, params) => (await pglite.query<Record<string, unknown>>(sql, params)).rows),
  );
