// The compiled program as a process of its own, to be killed, stopped and started again on the same port and data.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { request } from 'undici';
import type { RetryResult } from '../../../contracts/operations.ts';
import { serverFolder } from '../../../demos/shared/folder.ts';
import { startGuard } from '../../../demos/shared/guard.ts';
import { freePort } from '../../servers/ports.ts';
import { eventually } from '../../setup/wait.ts';

const program = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));
/** A first start creates the embedded database, which takes seconds on a busy machine. */
const READY_WITHIN_MS = 60_000;

interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export type Environment = Readonly<Record<string, string>>;

export interface ServiceProcess {
  readonly url: string;
  /** Undefined while it does not run. */
  readonly pid: number | undefined;
  /** Starts it and resolves when it is ready. */
  start(extra?: Environment): Promise<void>;
  /** Starts it without waiting for anything. */
  launch(extra?: Environment): Promise<void>;
  /** How it ended; rejects when it still runs after that time. */
  ended(withinMs: number): Promise<Exit>;
  /** kill -9 */
  kill(): Promise<Exit>;
  /** SIGTERM */
  stop(): Promise<Exit>;
  /** SIGSTOP and SIGCONT, as a suspended machine or an overloaded host does. */
  freeze(frozen: boolean): void;
  /** All that it printed since it was created. */
  output(): Promise<string>;
  /** Kills it and removes its output. */
  remove(): Promise<void>;
}

/** What Node runs for these services; none: all of them. */
export const sluice = (...services: string[]): string[] => [program, 'start', ...services];

/** `args` are what Node runs, in a folder that is empty, so that it finds no settings there. Not started yet. */
export async function createServiceProcess(
  name: string,
  args: readonly string[],
  env: Environment,
): Promise<ServiceProcess> {
  const folder = await serverFolder(name);
  const guard = await startGuard('[ -z "$last" ] || kill -s KILL "$last"; rm -rf -- "$1"', folder);
  const outputFile = join(folder, 'output.log');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  let child: ChildProcess | undefined;

  const exit = (): Exit | undefined =>
    child && (child.exitCode !== null || child.signalCode !== null)
      ? { code: child.exitCode, signal: child.signalCode }
      : undefined;
  const runningPid = () => (exit() ? undefined : child?.pid);

  const launch = async (extra: Environment = {}) => {
    if (runningPid() !== undefined) throw new Error(`${name} runs already`);
    const log = openSync(outputFile, 'a');
    try {
      child = spawn(process.execPath, args, {
        cwd: folder,
        // Nothing is inherited: settings of whoever runs the tests have no effect.
        env: { PATH: process.env.PATH ?? '', LOG_FORMAT: 'json', PORT: String(port), ...env, ...extra },
        stdio: ['ignore', log, log],
      });
    } finally {
      closeSync(log);
    }
    await once(child, 'spawn');
    guard.tell(String(child.pid));
    // By then the number may be someone else's.
    child.once('exit', () => guard.tell(''));
  };

  const ended = (withinMs: number) => eventually(exit, { what: `the end of ${name}`, timeoutMs: withinMs });

  const end = async (signal: NodeJS.Signals): Promise<Exit> => {
    child?.kill(signal);
    return ended(30_000);
  };

  return {
    url,
    get pid() {
      return runningPid();
    },
    launch,
    async start(extra) {
      await launch(extra);
      const state = await eventually(async () => (exit() ? 'ended' : (await isReady(url)) && 'ready'), {
        what: `${name} to be ready`,
        timeoutMs: READY_WITHIN_MS,
      });
      if (state === 'ended') throw new Error(`${name} ended before it was ready: ${JSON.stringify(exit())}`);
    },
    ended,
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    freeze(frozen) {
      child?.kill(frozen ? 'SIGSTOP' : 'SIGCONT');
    },
    output: () => readFile(outputFile, 'utf8'),
    async remove() {
      if (runningPid() !== undefined) await end('SIGKILL');
      await guard.close();
    },
  };
}

async function isReady(url: string): Promise<boolean> {
  const { statusCode, body } = await request(`${url}/readyz`, { headersTimeout: 2_000, bodyTimeout: 2_000 });
  await body.dump();
  return statusCode === 200;
}

/** Gives the service's dead messages a fresh set of attempts, by one call. */
export async function retryDead({ url }: ServiceProcess, service: string): Promise<void> {
  const { statusCode, body } = await request(`${url}/failed-messages/${service}/retry?status=dead`, { method: 'POST' });
  const answer = await body.text();
  if (statusCode !== 202) throw new Error(`retry was answered ${statusCode}: ${answer}`);
  const { left } = JSON.parse(answer) as RetryResult;
  if (left > 0) throw new Error(`${left} dead messages were not retried`);
}
