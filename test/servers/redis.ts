// A private Redis or Valkey on the loopback interface, open to everyone. It begins empty and, unless told otherwise,
// forgets everything when it ends.
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
  /** Writes what it holds to a file, each second, and reads it when it starts again. */
  readonly appendOnly?: boolean;
}

export function startRedis({ appendOnly = false }: RedisOptions = {}): Promise<LocalRedis> {
  return retryWithOtherPorts(async () => {
    const programs = await findPrograms('redis');
    const port = await freePort();
    const runner = await (programs.kind === 'installed'
      ? installed(join(programs.folder, programs.program), port, appendOnly)
      : inContainer(programs.engine, port, appendOnly));
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

const settings = (appendOnly: boolean) => [
  ...['--appendonly', appendOnly ? 'yes' : 'no', '--appendfsync', 'everysec'],
  ...['--save', '', '--maxmemory-policy', 'noeviction', '--daemonize', 'no'],
];

async function installed(command: string, port: number, appendOnly: boolean) {
  const folder = await serverFolder('redis');
  const own = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder];
  return processRunner(folder, { command, args: [...own, ...settings(appendOnly)], env: { LC_ALL: 'C' } });
}

const inContainer = (engine: string, port: number, appendOnly: boolean) =>
  containerRunner({
    engine,
    image: 'docker.io/valkey/valkey:8',
    ports: { [port]: 6379 },
    // Only this machine's loopback interface leads into the container.
    command: ['valkey-server', '--protected-mode', 'no', '--dir', '/data', ...settings(appendOnly)],
  });

async function redisReady(url: string): Promise<void> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: null, connectTimeout: 5_000 });
  // What breaks the connection is reported here as well as by the call under way.
  client.on('error', () => undefined);
  try {
    // Resolves when the server has read its file.
    await client.connect();
    await client.ping();
  } finally {
    client.disconnect();
  }
}
