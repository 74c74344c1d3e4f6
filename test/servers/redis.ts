// A private Redis or Valkey on the loopback interface, without authentication. It starts empty and by default keeps
// nothing on disk.
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { serverFolder } from '../../demos/shared/folder.ts';
import { containerRunner } from './container-runner.ts';
import { freePort } from './ports.ts';
import { processRunner } from './process-runner.ts';
import { findPrograms } from './programs.ts';
import { type LocalServer, retryWithOtherPorts, startServer } from './server.ts';

export interface LocalRedis extends LocalServer {
  readonly redisUrl: string;
}

export interface RedisOptions {
  /** Saves its data to a file every second, and loads it on restart. */
  readonly appendOnly?: boolean;
  /** A node of a cluster, which holds no slots. */
  readonly cluster?: boolean;
}

export function startRedis(options: RedisOptions = {}): Promise<LocalRedis> {
  return retryWithOtherPorts(async () => {
    const programs = await findPrograms('redis');
    const port = await freePort();
    const runner = await (programs.kind === 'installed'
      ? installed(join(programs.folder, programs.program), port, options)
      : inContainer(programs.engine, port, options));
    const redisUrl = `redis://127.0.0.1:${port}`;
    const server = await startServer({
      name: 'Redis',
      runner,
      ready: () => redisReady(redisUrl),
      cleanSignal: 'SIGTERM',
    });
    return Object.assign(server, { redisUrl });
  });
}

const settings = ({ appendOnly = false, cluster = false }: RedisOptions) => [
  ...['--appendonly', appendOnly ? 'yes' : 'no', '--appendfsync', 'everysec'],
  ...['--cluster-enabled', cluster ? 'yes' : 'no'],
  ...['--save', '', '--maxmemory-policy', 'noeviction', '--daemonize', 'no'],
];

async function installed(command: string, port: number, options: RedisOptions) {
  const folder = await serverFolder('redis');
  const own = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder];
  return processRunner(folder, { command, args: [...own, ...settings(options)], env: { LC_ALL: 'C' } });
}

const inContainer = (engine: string, port: number, options: RedisOptions) =>
  containerRunner({
    engine,
    image: 'docker.io/valkey/valkey:8',
    ports: { [port]: 6379 },
    // The container is reachable only through this machine's loopback interface.
    command: ['valkey-server', '--protected-mode', 'no', '--dir', '/data', ...settings(options)],
  });

async function redisReady(url: string): Promise<void> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: null, connectTimeout: 5_000 });
  // A connection that breaks emits this event in addition to rejecting the pending call.
  client.on('error', () => undefined);
  try {
    // Resolves when the server has loaded its file.
    await client.connect();
    await client.ping();
  } finally {
    client.disconnect();
  }
}
