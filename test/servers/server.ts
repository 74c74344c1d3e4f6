// A private server in a child process or a container: start, wait until it is ready, kill, restart, remove.
import { setTimeout as delay } from 'node:timers/promises';

export interface LocalServer {
  /** Its main process, or undefined while it is down. */
  readonly pid: number | undefined;
  /**
   * SIGKILL (the default) kills the whole process tree, any other signal goes to the main process. Resolves when the
   * process has ended, rejects after 30 s.
   */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Same ports, same data; stops it cleanly first if it runs. Resolves when it is ready. */
  restart(): Promise<void>;
  /** Ends it and removes its files. Safe to call twice. */
  stop(): Promise<void>;
}

/** Runs a server in a child process or a container. */
export interface Runner {
  readonly pid: number | undefined;
  start(): Promise<void>;
  /** False after it has ended, by itself or by a signal. */
  running(): Promise<boolean>;
  kill(signal: NodeJS.Signals): Promise<void>;
  log(): Promise<string>;
  remove(): Promise<void>;
}

export interface ServerSpec {
  readonly name: string;
  readonly runner: Runner;
  /** Resolves if the server works, else rejects. Called until it resolves. */
  readonly ready: () => Promise<void>;
  /** The signal for a clean end. */
  readonly cleanSignal: NodeJS.Signals;
}

/** A slow machine takes 30 s to start RabbitMQ. */
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
          const problem = ended ? 'ended before it was ready' : `was not ready within ${startTimeoutMs / 1000} s`;
          throw new Error(`${name} ${problem}; its last output:\n${(await runner.log()).slice(-4000)}`, {
            cause: error,
          });
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

/** Starts up to three times, if another program takes a port between choosing and listening. */
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

/** Servers that are stopped together. */
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
