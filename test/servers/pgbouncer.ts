// A private PgBouncer on the loopback interface, without passwords, in front of a PostgreSQL without passwords.
import { chown, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serverFolder } from '../../demos/shared/folder.ts';
import { freePort } from './ports.ts';
import { unprivilegedUser } from './postgres.ts';
import { processRunner } from './process-runner.ts';
import { findPrograms, ServerMissing } from './programs.ts';
import { postgresReady } from './readiness.ts';
import { type LocalServer, retryWithOtherPorts, startServer } from './server.ts';

export interface Pgbouncer extends LocalServer {
  /** The URL of the given database through it. */
  readonly url: string;
}

/** Whether this machine has PgBouncer; in CI it must. */
export const hasPgbouncer = async (): Promise<boolean> =>
  Boolean(process.env.CI) ||
  findPrograms('pgbouncer').then(
    ({ kind }) => kind === 'installed',
    () => false,
  );

/** `settings`: lines of its configuration, such as `pool_mode = session`. */
export function startPgbouncer(databaseUrl: string, settings: readonly string[]): Promise<Pgbouncer> {
  return retryWithOtherPorts(async () => {
    const programs = await findPrograms('pgbouncer');
    if (programs.kind !== 'installed') throw new ServerMissing('pgbouncer');
    const port = await freePort();
    const { hostname, port: serverPort, username, password, pathname } = new URL(databaseUrl);
    const owner = process.getuid?.() === 0 ? await unprivilegedUser() : undefined;
    const folder = await serverFolder('pgbouncer', owner);
    const write = async (name: string, lines: readonly string[]) => {
      const file = join(folder, name);
      await writeFile(file, `${lines.join('\n')}\n`);
      if (owner) await chown(file, owner.uid, owner.gid);
      return file;
    };
    const users = await write('users.txt', [`"${username}" "${decodeURIComponent(password)}"`]);
    const file = await write('pgbouncer.ini', [
      '[databases]',
      `* = host=${hostname} port=${serverPort}`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      'unix_socket_dir =',
      'auth_type = trust',
      `auth_file = ${users}`,
      ...settings,
    ]);
    const runner = await processRunner(folder, {
      command: join(programs.folder, programs.program),
      args: [file],
      env: {},
      user: owner,
    });
    const url = `postgres://${username}@127.0.0.1:${port}${pathname}`;
    const ready = () => postgresReady(url);
    return Object.assign(await startServer({ name: 'PgBouncer', runner, ready, cleanSignal: 'SIGINT' }), { url });
  });
}
