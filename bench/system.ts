// The system as it is measured: compiled code with its default settings, in processes of its own, on fresh data and
// private servers; its log goes to a file, as in production. `embedded`: everything in one process without any setting.
// `separate`: a process per service, on PostgreSQL, RabbitMQ and Mosquitto, and on Redis if requested; the flash sale
// has one for its HTTP side, the gateway, and one for the work behind it.
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

interface StartOptions {
  /** Redis paces the flash sales' queues, when separate. */
  readonly redis?: boolean | undefined;
  /** Each process writes a CPU profile to it when it stops. */
  readonly profileFolder?: string | undefined;
  /** Of each process, besides the addresses of the servers. */
  readonly settings?: Readonly<Record<string, string>>;
}

type SystemProcess = Awaited<ReturnType<typeof startProcess>>;
type Servers = Awaited<ReturnType<typeof startServers>>;

export class System {
  readonly mode: Mode;
  readonly #group: ServerGroup;
  /** Undefined when embedded. */
  readonly #servers: Servers | undefined;
  readonly #options: StartOptions;
  readonly #processes: SystemProcess[] = [];

  private constructor(mode: Mode, group: ServerGroup, servers: Servers | undefined, options: StartOptions) {
    this.mode = mode;
    this.#group = group;
    this.#servers = servers;
    this.#options = options;
  }

  /** A start that fails leaves nothing behind. */
  static async start(mode: Mode, options: StartOptions = {}): Promise<System> {
    const group = new ServerGroup();
    try {
      const servers = mode === 'separate' ? await startServers(group, options.redis === true) : undefined;
      const system = new System(mode, group, servers, options);
      for (const name of servers ? [...serviceNames, FLASH_SALE_WORKER] : ['all']) await system.addProcess(name);
      return system;
    } catch (error) {
      await group.stop();
      throw error;
    }
  }

  /** The order service's URL. */
  get url(): string {
    return this.processOf('order').url;
  }

  get flashSaleUrl(): string {
    return this.processOf('flash-sale').url;
  }

  /** The URLs of all processes. */
  get urls(): string[] {
    return this.#processes.map(({ url }) => url);
  }

  /** Undefined when embedded, as is `databaseUrl`. */
  get amqpUrl(): string | undefined {
    return this.#servers?.env.AMQP_URL;
  }

  get databaseUrl(): string | undefined {
    return this.#servers?.env.DATABASE_URL;
  }

  /** The folder of an embedded database: DATA_DIR's default, below the process's own folder. */
  get databaseFolder(): string {
    return join(this.processOf('order').folder, '.data', 'database');
  }

  /** Main processes by name, the servers' too; a server's children are found by their parent. */
  get pids(): Record<string, number> {
    return { ...this.servicePids, ...pidsOf(Object.entries({ ...this.#servers?.running })) };
  }

  /** The process ids of the services: the second process of `points` is `points 2`. */
  get servicePids(): Record<string, number> {
    const named = this.#processes.map(({ name, server }, index) => {
      const before = this.#processes.slice(0, index).filter((other) => other.name === name).length;
      return [before === 0 ? name : `${name} ${before + 1}`, server] as const;
    });
    return pidsOf(named);
  }

  /** The first process that runs the service. */
  processOf(service: string): SystemProcess {
    const found = this.#processes.find(({ name }) => name === service || name === 'all');
    if (!found) throw new RangeError(`no process runs ${service}`);
    return found;
  }

  /** Starts one more process, of a service or, when embedded, of `all`. */
  async addProcess(name: string): Promise<SystemProcess> {
    const { settings, profileFolder } = this.#options;
    const env = { ...COMMON, ...(this.#servers?.env ?? { MQTT_PORT: '0' }), ...settings };
    const started = await startProcess(name, env, profileFolder);
    this.#group.add(started.server);
    this.#processes.push(started);
    return started;
  }

  /**
   * Stops the services cleanly and lets `read` query what they stored; the servers keep running. `settings`: the
   * database's durability, as the database reports it.
   */
  async stopServices<T>(read: (query: Query) => Promise<T>) {
    const readAll = async (query: Query) => {
      const rows = await query(SETTINGS);
      const settings = Object.fromEntries(rows.map(({ name, setting }) => [String(name), String(setting)]));
      return { stored: await read(query), settings };
    };
    const { databaseUrl, databaseFolder } = this;
    await Promise.all(this.#processes.map(({ server }) => server.kill('SIGTERM')));
    return databaseUrl === undefined ? queryPglite(databaseFolder, readAll) : queryPostgres(databaseUrl, readAll);
  }

  /** Ends all processes and removes all data. Safe to call twice. */
  remove(): Promise<void> {
    return this.#group.stop();
  }
}

/** The process ids of the servers that run. */
const pidsOf = (named: readonly (readonly [name: string, server: LocalServer])[]): Record<string, number> =>
  Object.fromEntries(named.flatMap(([name, { pid }]) => (pid === undefined ? [] : [[name, pid]])));

/** Starts the servers in sequence, so that the group has all servers that were started. */
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

const FLASH_SALE_WORKER = 'flash-sale worker';

/** The arguments of a process, by its name. For any other process, the name is the only argument. */
const ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  all: [],
  'flash-sale': ['flash-sale', '--role', 'web'],
  [FLASH_SALE_WORKER]: ['flash-sale', '--role', 'worker'],
};

/** `name`: a service, its worker, or `all`. */
async function startProcess(name: string, env: Readonly<Record<string, string>>, profileFolder: string | undefined) {
  const folder = await serverFolder(`bench-${name.replace(' ', '-')}`);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const profiling = profileFolder
    ? ['--cpu-prof', `--cpu-prof-dir=${resolve(profileFolder)}`, `--cpu-prof-name=${name.replace(' ', '-')}.cpuprofile`]
    : [];
  const runner = await processRunner(folder, {
    command: process.execPath,
    args: [...profiling, MAIN, 'start', ...(ARGUMENTS[name] ?? [name])],
    env: { PATH: process.env.PATH ?? '', ...env, PORT: String(port) },
  });
  const ready = async () => {
    const { status } = await fetch(`${url}/readyz`);
    if (status !== 200) throw new Error(`/readyz responded with ${status}`);
  };
  const server = await startServer({ name: `sluice ${name}`, runner, ready, cleanSignal: 'SIGTERM' });
  return { name, server, url, folder };
}

/** Lets `read` query PostgreSQL. */
export const queryPostgres = <T>(url: string, read: (query: Query) => Promise<T>): Promise<T> =>
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
