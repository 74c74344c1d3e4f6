// The system as it is measured: compiled code with its default settings, in processes of its own, on fresh data and
// private servers; its log goes to a file, as in production. `embedded`: everything in one process without any setting.
// `separate`: a process per service, on PostgreSQL, RabbitMQ and Mosquitto, and on Redis if requested.
import { join } from 'node:path';
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

export type Mode = 'embedded' | 'separate';

export const MODES: readonly Mode[] = ['embedded', 'separate'];

export interface SystemOptions {
  /** Where each process writes a CPU profile when it stops. */
  readonly profileFolder?: string | undefined;
  /** Lets Redis pace the flash sales' queues, when separate. */
  readonly redis?: boolean;
}

interface Process {
  readonly server: LocalServer;
  readonly url: string;
  readonly folder: string;
}

/** How to read the database while the services are stopped. */
type Database = { readonly query: Query; readonly close: () => Promise<void> };

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const COMMON = { HOST: '127.0.0.1', NODE_ENV: 'production', LOG_FORMAT: 'json' };

export class System {
  /** By name; the order service's URL is `order`, or the whole system's `all`. */
  readonly urls: Readonly<Record<string, string>>;
  /** Main processes by name, the servers' too; a server's children are found by their parent. */
  readonly pids: Readonly<Record<string, number>>;
  /** Undefined when embedded. */
  readonly amqpUrl: string | undefined;
  readonly #group: ServerGroup;
  readonly #services: readonly LocalServer[];
  readonly #openDatabase: () => Promise<Database>;

  constructor(group: ServerGroup, processes: Readonly<Record<string, Process>>, servers: Servers | undefined) {
    this.#group = group;
    this.#services = Object.values(processes).map(({ server }) => server);
    this.urls = mapValues(processes, ({ url }) => url);
    this.amqpUrl = servers?.env.AMQP_URL;
    const services = mapValues(processes, ({ server }) => server);
    this.pids = mapValues({ ...services, ...servers?.running }, ({ pid }) => pid ?? 0);
    // An embedded database is in DATA_DIR's default, below the process's own folder.
    const dataDir = join(processes.all?.folder ?? '', '.data', 'database');
    this.#openDatabase = servers ? () => openPostgres(servers.env.DATABASE_URL) : () => openPglite(dataDir);
  }

  /** Of the order service. */
  get url(): string {
    return this.urls.order ?? this.urls.all ?? '';
  }

  get flashSaleUrl(): string {
    return this.urls['flash-sale'] ?? this.urls.all ?? '';
  }

  /** Stops the services cleanly and lets `read` query what they stored; the servers keep running. */
  async stopServices<T>(read: (query: Query) => Promise<T>): Promise<T> {
    await Promise.all(this.#services.map((server) => server.kill('SIGTERM')));
    const database = await this.#openDatabase();
    try {
      return await read(database.query);
    } finally {
      await database.close();
    }
  }

  /** Ends all processes and removes all data. Safe to call twice. */
  remove(): Promise<void> {
    return this.#group.stop();
  }
}

/** A start that fails leaves nothing behind. */
export async function startSystem(mode: Mode, { profileFolder, redis }: SystemOptions = {}): Promise<System> {
  const group = new ServerGroup();
  try {
    const servers = mode === 'separate' ? await startServers(group, redis === true) : undefined;
    const env = { ...COMMON, ...(servers?.env ?? { MQTT_PORT: '0' }) };
    const processes: Record<string, Process> = {};
    for (const name of servers ? serviceNames : ['all']) {
      const started = await startProcess(name, env, profileFolder);
      processes[name] = { ...started, server: group.add(started.server) };
    }
    return new System(group, processes, servers);
  } catch (error) {
    await group.stop();
    throw error;
  }
}

type Servers = Awaited<ReturnType<typeof startServers>>;

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
async function startProcess(
  name: string,
  env: Readonly<Record<string, string>>,
  profileFolder: string | undefined,
): Promise<Process> {
  const folder = await serverFolder(`bench-${name}`);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const profiling = profileFolder
    ? ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`, `--cpu-prof-name=${name}.cpuprofile`]
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
  return { server, url, folder };
}

async function openPostgres(url: string): Promise<Database> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return { query: async (sql, params) => (await client.query(sql, params)).rows, close: () => client.end() };
}

async function openPglite(dataDir: string): Promise<Database> {
  const pglite = await PGlite.create({ dataDir });
  return {
    query: async (sql, params) => (await pglite.query<Record<string, unknown>>(sql, params)).rows,
    close: () => pglite.close(),
  };
}

const mapValues = <T, R>(values: Readonly<Record<string, T>>, map: (value: T) => R): Record<string, R> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value)]));
