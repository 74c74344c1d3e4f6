// A private server, whatever it runs in (a process of ours or a container): started, watched until it answers, killed,
// restarted, removed.
import { setTimeout as delay } from 'node:timers/promises';

export interface LocalServer {
  /** Its main process, or undefined while it is down. */
  readonly pid: number | undefined;
  /** SIGKILL (the default) takes the whole process tree, any other signal goes to the main process. Resolves when it
   *  has ended, rejects after 30 s. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Same ports, same data; ends it cleanly first if it runs. Resolves when it answers. */
  restart(): Promise<void>;
  /** Ends it and removes everything it left on disk. Safe to call twice. */
  stop(): Promise<void>;
}

/** What a server runs in. */
export interface Runner {
  readonly pid: number | undefined;
  start(): Promise<void>;
  /** False once it has ended by itself or by a signal. */
  running(): Promise<boolean>;
  kill(signal: NodeJS.Signals): Promise<void>;
  log(): Promise<string>;
  remove(): Promise<void>;
}

export interface ServerSpec {
  readonly name: string;
  readonly runner: Runner;
  /** Resolves when the server does its work, rejects when it does not (yet). Tried until it resolves. */
  readonly ready: () => Promise<void>;
  /** Asks it to end in good order. */
  readonly cleanSignal: NodeJS.Signals;
}

/** A slow machine needs 30 s for RabbitMQ. */
const startTimeoutMs = 90_000;

export async function startServer({ name, runner, ready, cleanSignal }: ServerSpec): Promise<LocalServer> {
  const start = async () => {
    await runner.start();
    const deadline = Date.now() + startTimeoutMs;
    for (;;) {
      try {
        return await ready();
      } catch (error) {
        const ended = !(await runner.running());
        if (ended || Date.now() > deadline) {
          const what = ended ? 'ended before it answered' : `did not answer within ${startTimeoutMs / 1000} s`;
          throw new Error(`${name} ${what}; its last words:\n${(await runner.log()).slice(-4000)}`, { cause: error });
        }
        await delay(100);
      }
    }
  };

  try {
    await start();
  } catch (error) {
    await runner.remove();
    throw error;
  }
  return {
    get pid() {
      return runner.pid;
    },
    kill: (signal = 'SIGKILL') => runner.kill(signal),
    async restart() {
      if (await runner.running()) await runner.kill(cleanSignal);
      await start();
    },
    stop: () => runner.remove(),
  };
}

/** Starts again, with other ports, when another program took a port between choosing and listening; three times. */
export async function retryWithOtherPorts<T>(start: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start();
    } catch (error) {
      const taken =
        error instanceof Error &&
        /address already in use|eaddrinuse|port_already_used|port is already allocated/i.test(error.message);
      if (!taken || attempt === 3) throw error;
    }
  }
}

/** Servers that end together. */
export class ServerGroup {
  readonly #servers: LocalServer[] = [];

  add<S extends LocalServer>(server: S): S {
    this.#servers.push(server);
    return server;
  }

  /** Safe to call twice. */
  async stop(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map((server) => server.stop()));
  }
}
