// Sluice in processes of its own, for a demonstration: each runs some of the services, or all of them.
import { fileURLToPath } from 'node:url';
import type { ServiceName } from '../../contracts/services.ts';
import { type Child, type Environment, exitText, Supervisor } from './child-process.ts';
import { CliError } from './errors.ts';
import { serverFolder } from './folder.ts';
import { printable } from './terminal.ts';

const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const PROGRAM = fileURLToPath(new URL(`./sluice.child.${extension}`, import.meta.url));

const READY_WITHIN_MS = 60_000;
/** To stop or start a service within a process. */
const REPLY_WITHIN_MS = 30_000;

/** To the process: stop a service that runs in it, or start it again. One at a time. */
export interface ServiceRequest {
  readonly action: 'stop' | 'start';
  readonly service: ServiceName;
}

/** From the process: its URL once it is ready; the request is done; or why it failed. */
export type ServiceReply = { readonly readyAt: string } | { readonly done: true } | { readonly failed: string };

export class SluiceProcess {
  readonly url: string;
  readonly #child: Child;

  constructor(url: string, child: Child) {
    this.url = url;
    this.#child = child;
  }

  /** Resolves when the service is stopped, or runs again; the process keeps running. */
  async ask(request: ServiceRequest): Promise<void> {
    const reply = await this.#child.ask<ServiceReply>(request, REPLY_WITHIN_MS);
    if ('failed' in reply)
      throw new CliError(`${this.#child.name}: ${request.action} ${request.service}: ${reply.failed}`);
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    await this.#child.end(signal);
  }
}

export class SluiceProcesses {
  readonly #supervisor: Supervisor;
  readonly #broken = new AbortController();

  private constructor(supervisor: Supervisor) {
    this.#supervisor = supervisor;
  }

  /** In a temporary folder without a settings file. */
  static async open(name: string): Promise<SluiceProcesses> {
    return new SluiceProcesses(await Supervisor.open(await serverFolder(name)));
  }

  get folder(): string {
    return this.#supervisor.folder;
  }

  /** Aborts with a CliError when a process ends by itself. */
  get broken(): AbortSignal {
    return this.#broken.signal;
  }

  /** Resolves when it is ready. No `services` means all. It inherits nothing of this process's environment. */
  async start(services: readonly ServiceName[], env: Environment, signal: AbortSignal): Promise<SluiceProcess> {
    const name = services.length === 0 ? 'the system' : services.join(' and ');
    const common = { PATH: process.env.PATH ?? '', NODE_ENV: 'production', LOG_FORMAT: 'json', LOG_LEVEL: 'warn' };
    const args = [...process.execArgv, PROGRAM, ...services];
    const child = await this.#supervisor.start({ name, args, env: { ...common, ...env } });
    void child.exited.then((exit) => {
      if (!child.endedByItself) return;
      this.#broken.abort(new CliError(`${name} ended by itself (${exitText(exit)})\n${child.lastLines}`.trim()));
    });
    const abort = () => void child.end('SIGKILL');
    signal.addEventListener('abort', abort, { once: true });
    try {
      signal.throwIfAborted();
      const reply = await child.receive<ServiceReply>(READY_WITHIN_MS);
      if ('readyAt' in reply) return new SluiceProcess(reply.readyAt, child);
      throw new CliError(`${name} did not start: ${printable('failed' in reply ? reply.failed : 'no reason')}`);
    } catch (error) {
      await child.end('SIGKILL');
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Ends all that still run and removes the folder. */
  close(): Promise<void> {
    return this.#supervisor.close();
  }
}

/**
 * Everything embedded, in one other process, so that clients and system do not share a thread. Without a `dataDir`, the
 * data is in the temporary folder with this `name`, which `close` removes.
 */
export async function startEmbedded(options: { name: string; dataDir?: string | undefined; signal: AbortSignal }) {
  const { name, dataDir, signal } = options;
  const processes = await SluiceProcesses.open(name);
  const close = () => processes.close();
  try {
    const env = { DATA_DIR: dataDir ?? processes.folder, PORT: '0', MQTT_PORT: '0' };
    return { process: await processes.start([], env, signal), broken: processes.broken, close };
  } catch (error) {
    await close();
    throw error;
  }
}
