// A private PostgreSQL on the loopback interface, without passwords. It writes as durably as in production (fsync is
// on), so a test may kill it to check durability.
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { serverFolder, type User } from '../../demos/shared/folder.ts';
import { containerRunner } from './container-runner.ts';
import { freePort } from './ports.ts';
import { processRunner } from './process-runner.ts';
import { findPrograms, ServerMissing } from './programs.ts';
import { postgresReady } from './readiness.ts';
import { type LocalServer, retryWithOtherPorts, startServer } from './server.ts';

const run = promisify(execFile);

export interface Postgres extends LocalServer {
  /** Superuser `postgres`, database `postgres`. */
  readonly url: string;
}

/** PostgreSQL's signals: SIGINT is a fast shutdown, SIGQUIT an immediate one, SIGTERM waits for the clients. */
export function startPostgres(): Promise<Postgres> {
  return retryWithOtherPorts(async () => {
    const programs = await findPrograms('postgres');
    const port = await freePort();
    const runner = await (programs.kind === 'installed'
      ? installed(programs.folder, port)
      : inContainer(programs.engine, port));
    const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
    const server = await startServer({
      name: 'PostgreSQL',
      runner,
      ready: () => postgresReady(url),
      cleanSignal: 'SIGINT',
    });
    return Object.assign(server, { url });
  });
}

/** A standby of a server that startPostgres has started from installed programs. It may be promoted. */
export function startStandby(primary: Postgres): Promise<Postgres> {
  return retryWithOtherPorts(async () => {
    const programs = await findPrograms('postgres');
    if (programs.kind !== 'installed') throw new ServerMissing('postgres');
    const port = await freePort();
    const copy = ['--checkpoint', 'fast', '--no-sync', '--write-recovery-conf', '--dbname', primary.url];
    const runner = await installed(programs.folder, port, ['pg_basebackup', ...copy]);
    const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
    const ready = () => postgresReady(url);
    return Object.assign(await startServer({ name: 'PostgreSQL', runner, ready, cleanSignal: 'SIGINT' }), { url });
  });
}

const settings = ['-c', 'max_connections=200', '-c', 'fsync=on'];

const INITDB = [
  'initdb',
  '--username',
  'postgres',
  '--auth',
  'trust',
  '--encoding',
  'UTF8',
  '--no-locale',
  '--no-sync',
];

/** `create`: the program that creates the data folder, and its arguments. */
async function installed(programs: string, port: number, [create, ...args] = INITDB) {
  const user = process.getuid?.() === 0 ? await unprivilegedUser() : undefined;
  const folder = await serverFolder('postgres', user);
  const data = join(folder, 'data');
  const env = { PATH: process.env.PATH ?? '', LC_ALL: 'C', TZ: 'UTC' };
  try {
    await run(join(programs, String(create)), ['--pgdata', data, ...args], { cwd: folder, env, ...user });
  } catch (error) {
    await rm(folder, { recursive: true });
    throw error;
  }
  const network = ['-c', 'listen_addresses=127.0.0.1', '-c', `port=${port}`, '-c', 'unix_socket_directories='];
  return processRunner(folder, {
    command: join(programs, 'postgres'),
    args: ['-D', data, ...network, ...settings],
    env,
    user,
  });
}

/** PostgreSQL and PgBouncer do not run as root. */
export async function unprivilegedUser(): Promise<User> {
  for (const name of ['postgres', 'nobody']) {
    try {
      const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
      return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
    } catch {
      // No such user: try the next one.
    }
  }
  throw new Error('the server does not run as root, and this machine has neither a user postgres nor nobody');
}

const inContainer = (engine: string, port: number) =>
  containerRunner({
    engine,
    image: 'docker.io/library/postgres:17',
    ports: { [port]: 5432 },
    env: { POSTGRES_HOST_AUTH_METHOD: 'trust' },
    command: settings,
  });
