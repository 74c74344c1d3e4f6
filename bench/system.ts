// The system as it is measured: compiled code with its default settings, in processes of its own, on fresh data and
// private servers; its log goes to a file, as in production. `embedded`: everything in one process, with nothing set.
// `separate`: each service in a process of its own, on PostgreSQL, RabbitMQ and Mosquitto, and on Redis where asked for.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PGlite } from '@electric-sql/pglite';
import pg from 'pg';
import { type ServiceName, serviceNames } from '../contracts/services.ts';
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

export interface System {
  /** Where orders are placed, and where a flash sale sells: one process where the system is embedded. */
  readonly url: string;
  readonly flashSaleUrl: string;
  /** Of each process, by its name; the order service's is `order`, or the whole system's `all`. */
  readonly urls: Readonly<Record<string, string>>;
  /** Main processes, by name: a server's children are found by their parent. */
  readonly pids: Readonly<Record<string, number>>;
  /** Only when separate. */
  readonly amqpUrl: string | undefined;
  /** Stops the services cleanly and lets `look` ask the database what they stored; the servers run on. */
  stopServices<T>(look: (query: Query) => Promise<T>): Promise<T>;
  /** Ends what is left and removes all data. Safe to call twice. */
  remove(): Promise<void>;
}

type Row = Record<string, unknown>;

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const COMMON = { HOST: '127.0.0.1', NODE_ENV: 'production', LOG_FORMAT: 'json' };

export interface SystemOptions {
  /** Where each process writes a CPU profile when it stops. */
  readonly profileFolder?: string | undefined;
  /** Lets Redis pace the flash sales' queues, when separate. */
  readonly redis?: boolean;
}

export const startSystem = (mode: Mode, options: SystemOptions = {}): Promise<System> =>
  mode === 'embedded' ? startEmbedded(options) : startSeparate(options);

async function startEmbedded({ profileFolder }: SystemOptions): Promise<System> {
  // The database is in DATA_DIR's default, below the process's own folder.
  const { server, url, folder } = await startProcess('all', [], { ...COMMON, MQTT_PORT: '0' }, profileFolder);
  return {
    url,
    flashSaleUrl: url,
    urls: { all: url },
    pids: pidsOf({ all: server }),
    amqpUrl: undefined,
    async stopServices(look) {
      await server.kill('SIGTERM');
      const pglite = await PGlite.create({ dataDir: join(folder, '.data', 'database') });
      try {
        return await look(async (sql, params) => (await pglite.query<Row>(sql, params)).rows);
      } finally {
        await pglite.close();
      }
    },
    remove: () => server.stop(),
  };
}

async function startSeparate({ profileFolder, redis: withRedis }: SystemOptions): Promise<System> {
  const started = new ServerGroup();
  const remove = () => started.stop();
  try {
    // One after the other: a start that fails leaves nothing behind.
    const postgres = started.add(await startPostgres());
    const rabbitmq = started.add(await startRabbitmq());
    const mosquitto = started.add(await startMosquitto());
    const redis = withRedis ? started.add(await startRedis()) : undefined;
    const env = {
      ...COMMON,
      DATABASE_URL: postgres.url,
      AMQP_URL: rabbitmq.amqpUrl,
      MQTT_URL: mosquitto.mqttUrl,
      PAYMENT_URL: 'http://127.0.0.1:9', // nobody pays, and nothing listens there
      ...(redis && { REDIS_URL: redis.redisUrl }),
    };
    const services: Partial<Record<ServiceName, LocalServer>> = {};
    const urls: Record<string, string> = {};
    for (const name of serviceNames) {
      const { server, url } = await startProcess(name, [name], env, profileFolder);
      services[name] = started.add(server);
      urls[name] = url;
    }
    return {
      url: urls.order ?? '',
      flashSaleUrl: urls['flash-sale'] ?? '',
      urls,
      pids: pidsOf({ ...services, postgres, rabbitmq, mosquitto, ...(redis && { redis }) }),
      amqpUrl: rabbitmq.amqpUrl,
      async stopServices(look) {
        await Promise.all(Object.values(services).map((server) => server.kill('SIGTERM')));
        const client = new pg.Client({ connectionString: postgres.url });
        await client.connect();
        try {
          return await look(async (sql, params) => (await client.query<Row>(sql, params)).rows);
        } finally {
          await client.end();
        }
      },
      remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function startProcess(
  name: string,
  services: readonly string[],
  settings: Readonly<Record<string, string>>,
  profileFolder: string | undefined,
): Promise<{ server: LocalServer; url: string; folder: string }> {
  const folder = await serverFolder(`bench-${name}`);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const profiling = profileFolder
    ? ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`, `--cpu-prof-name=${name}.cpuprofile`]
    : [];
  const runner = await processRunner(folder, {
    command: process.execPath,
    args: [...profiling, MAIN, 'start', ...services],
    env: { PATH: process.env.PATH ?? '', ...settings, PORT: String(port) },
  });
  const server = await startServer({
    name: `sluice ${name}`,
    runner,
    ready: async () => {
      const { status } = await fetch(`${url}/readyz`);
      if (status !== 200) throw new Error(`/readyz answers ${status}`);
    },
    cleanSignal: 'SIGTERM',
  });
  return { server, url, folder };
}

const pidsOf = (servers: Readonly<Record<string, LocalServer>>): Record<string, number> =>
  Object.fromEntries(Object.entries(servers).flatMap(([name, { pid }]) => (pid === undefined ? [] : [[name, pid]])));
