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
/** Timeout for stopping or starting a service within a process. */
const REPLY_WITHIN_MS = 30_000;

/** Tells a process to stop a service that runs in it, or to start it again. One request at a time. */
export interface ServiceRequest {
  readonly action: 'stop' | 'start';
  readonly service: ServiceName;
}

/** Sent by the process: its URL once it is ready; the request is done; or the reason why it failed. */
export type ServiceReply = { readonly readyAt: string } | { readonly done: true } | { readonly failed: string };

/** Resolves when the service is stopped, or runs again; the process keeps running. */
export async function sendRequest(child: Child, request: ServiceRequest): Promise<void> {
  const reply = await child.request<ServiceReply>(request, REPLY_WITHIN_MS);
  if ('failed' in reply) throw new CliError(`${child.name}: ${request.action} ${request.service}: ${reply.failed}`);
}

export type SluiceProcess = Awaited<ReturnType<typeof startProcess>>;

interface ProcessOptions {
  /** Its folder has no settings file. */
  readonly supervisor: Supervisor;
  /** None means all. */
  readonly services: readonly ServiceName[];
  /** Nothing else of this process's environment is inherited. */
  readonly env: Environment;
  readonly signal: AbortSignal;
  /** Aborts with a CliError if the process ends by itself. */
  readonly broken: AbortController;
}

/** Resolves when it is ready. */
export async function startProcess({ supervisor, services, env, signal, broken }: ProcessOptions) {
  const name = services.length === 0 ? 'the system' : services.join(' and ');
  const common = { PATH: process.env.PATH ?? '', NODE_ENV: 'production', LOG_FORMAT: 'json', LOG_LEVEL: 'warn' };
  const args = [...process.execArgv, PROGRAM, ...services];
  const child = await supervisor.start({ name, args, env: { ...common, ...env } });
  void child.exited.then((exit) => {
    if (!child.endedByItself) return;
    broken.abort(new CliError(`${name} ended by itself (${exitText(exit)})\n${child.lastLines}`.trim()));
  });
  const abort = () => void child.end('SIGKILL');
  signal.addEventListener('abort', abort, { once: true });
  try {
    signal.throwIfAborted();
    const reply = await child.receive<ServiceReply>(READY_WITHIN_MS);
    if ('readyAt' in reply) return { url: reply.readyAt, child };
    throw new CliError(`${name} did not start: ${printable('failed' in reply ? reply.failed : 'no reason')}`);
  } catch (error) {
    await child.end('SIGKILL');
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/**
 * Everything embedded, in one other process, so that clients and system do not share a thread. Without a `dataDir`, the
 * data is in the temporary folder with this `name`, which `close` removes.
 */
export async function startEmbedded(options: { name: string; dataDir?: string | undefined; signal: AbortSignal }) {
  const { name, dataDir, signal } = options;
  const supervisor = await Supervisor.open(await serverFolder(name));
  const broken = new AbortController();
  const close = () => supervisor.close();
  try {
    const env = { DATA_DIR: dataDir ?? supervisor.folder, PORT: '0', MQTT_PORT: '0' };
    const process = await startProcess({ supervisor, services: [], env, signal, broken });
    return { process, broken: broken.signal, close };
  } catch (error) {
    await close();
    throw error;
  }
}
