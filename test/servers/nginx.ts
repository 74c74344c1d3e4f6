// A private nginx on the loopback interface.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { request } from 'undici';
import { serverFolder } from '../../demos/shared/folder.ts';
import { freePort } from './ports.ts';
import { processRunner } from './process-runner.ts';
import { findPrograms, ServerMissing } from './programs.ts';
import { type LocalServer, retryWithOtherPorts, startServer } from './server.ts';

export interface Nginx extends LocalServer {
  readonly url: string;
}

/** `http`: the contents of its http block, for the port that it listens on. Rejects with ServerMissing. */
export function startNginx(http: (port: number) => string): Promise<Nginx> {
  return retryWithOtherPorts(async () => {
    const programs = await findPrograms('nginx');
    if (programs.kind !== 'installed') throw new ServerMissing('nginx');
    const port = await freePort();
    const folder = await serverFolder('nginx');
    const file = join(folder, 'nginx.conf');
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    await writeFile(
      file,
      [
        'daemon off;',
        'worker_processes 1;',
        // As root, its workers could not write to this folder as another user.
        ...(process.getuid?.() === 0 ? ['user root;'] : []),
        `pid ${folder}/nginx.pid;`,
        'error_log stderr;',
        'events {}',
        'http {',
        'access_log off;',
        ...temporary.map((name) => `${name}_temp_path ${folder}/${name};`),
        http(port),
        '}',
      ].join('\n'),
    );
    const command = join(programs.folder, programs.program);
    const runner = await processRunner(folder, { command, args: ['-e', 'stderr', '-c', file], env: {} });
    const url = `http://127.0.0.1:${port}`;
    const ready = async () => {
      const { body } = await request(url, { reset: true });
      await body.dump();
    };
    const server = await startServer({ name: 'nginx', runner, ready, cleanSignal: 'SIGQUIT' });
    return Object.assign(server, { url });
  });
}
