// Erlang's port mapper, with which RabbitMQ and rabbitmqctl find each other. By default Erlang starts one for the whole
// machine and leaves it running; this one is private, and ends with the last server that uses it.
import { once } from 'node:events';
import { connect } from 'node:net';
import { serverFolder } from '../../demos/shared/folder.ts';
import { freePort } from './ports.ts';
import { processRunner } from './process-runner.ts';
import { retryWithOtherPorts, startServer } from './server.ts';

export interface Epmd {
  readonly port: number;
  stop(): Promise<void>;
}

/** `command` runs it. */
export const startEpmd = ([command, ...args]: readonly [string, ...string[]] = ['epmd']): Promise<Epmd> =>
  retryWithOtherPorts(async () => {
    const port = await freePort();
    const server = await startServer({
      name: "Erlang's port mapper",
      runner: await processRunner(await serverFolder('epmd'), {
        command,
        args: [...args, '-port', String(port), '-address', '127.0.0.1'],
        env: { PATH: process.env.PATH ?? '' },
      }),
      ready: async () => {
        const socket = connect(port, '127.0.0.1');
        try {
          await once(socket, 'connect');
        } finally {
          socket.destroy();
        }
      },
      cleanSignal: 'SIGTERM',
    });
    return { port, stop: () => server.stop() };
  });
