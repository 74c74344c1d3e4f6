// The compiled program in a process of its own, which tests kill, stop and start again on the same port and data.
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { Agent } from 'undici';
import type { ServiceName } from '../../../contracts/services.ts';
import { type Child, type Environment, type Exit, Supervisor } from '../../../demos/shared/child-process.ts';
import { serverFolder } from '../../../demos/shared/folder.ts';
import { within } from '../../../infra/runtime/promises.ts';
import { freePort } from '../../servers/ports.ts';
import { call } from '../../setup/api.ts';
import * as schemas from '../../setup/schemas.ts';
import { eventually } from '../../setup/wait.ts';

const program = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));
/** A first start migrates a new embedded database, which takes seconds on a busy machine. */
const READY_WITHIN_MS = 60_000;
/** Only for readiness: a process with TLS_CERT has a certificate of a private authority. */
const unverified = new Agent({ pipelining: 0, connect: { rejectUnauthorized: false } });

export interface ServiceProcess {
  readonly url: string;
  /** Of the process that does the work behind HTTP, which is another one if the roles are apart. */
  readonly workerUrl: string;
  /** Empty while it does not run. */
  readonly pids: readonly number[];
  /** Resolves when the process is ready. */
  start(extra?: Environment): Promise<void>;
  /** Resolves without waiting for readiness. */
  launch(extra?: Environment): Promise<void>;
  /** Resolves when the process has ended; rejects if it still runs after that time. */
  ended(withinMs: number): Promise<Exit>;
  /** kill -9 */
  kill(): Promise<Exit>;
  /** SIGTERM */
  stop(): Promise<Exit>;
  /** SIGSTOP and SIGCONT, as a suspended machine or an overloaded host does. */
  freeze(frozen: boolean): void;
  /** Its output since it was created. */
  output(): Promise<string>;
  /** Kills it and removes its output. */
  remove(): Promise<void>;
}

/** The services that a process runs; without a role, in both. */
export type Arguments = readonly (ServiceName | '--role=web' | '--role=worker')[];

/** Node's arguments that start these services, or all of them if none is named. */
export const sluice = (...args: readonly string[]): string[] => [program, 'start', ...args];

/** Node runs with `args` in an empty folder, which has no settings. The process is not started yet. */
export async function createServiceProcess(
  name: string,
  args: readonly string[],
  env: Environment,
): Promise<ServiceProcess> {
  const folder = await serverFolder(name);
  const supervisor = await Supervisor.open(folder);
  const outputFile = join(folder, 'output.log');
  const port = await freePort();
  const url = `${env.TLS_CERT ? 'https' : 'http'}://127.0.0.1:${port}`;
  let child: Child | undefined;
  /** The size of its output at its last launch. */
  let outputBefore = 0;
  const running = (): Child => {
    if (!child) throw new Error(`${name} was not started`);
    return child;
  };

  const launch = async (extra: Environment = {}) => {
    if (child?.pid !== undefined) throw new Error(`${name} runs already`);
    outputBefore = await stat(outputFile).then(
      ({ size }) => size,
      () => 0,
    );
    // Without the warm-up, which is tested by itself: it would take up to a second of each start.
    const common = { PATH: process.env.PATH ?? '', LOG_FORMAT: 'json', PORT: String(port), WARM_UP: 'off' };
    child = await supervisor.start({ name, args, env: { ...common, ...env, ...extra }, outputFile });
  };

  /** Also by its own log: if another process has taken the port, that one answers until this one ends. */
  const isReady = async () => {
    const output = await text(createReadStream(outputFile, { start: outputBefore }));
    if (!output.includes(`"ready on ${url}"`)) return false;
    return (await call(`${url}/readyz`, { timeoutMs: 2_000, dispatcher: unverified })).status === 200;
  };

  const ended = (withinMs: number) =>
    within(withinMs, running().exited, () => new Error(`${name} still runs after ${withinMs / 1_000} s`));

  const end = (signal: NodeJS.Signals): Promise<Exit> => {
    running().signal(signal);
    return ended(30_000);
  };

  return {
    url,
    workerUrl: url,
    get pids() {
      return child?.pid === undefined ? [] : [child.pid];
    },
    launch,
    async start(extra) {
      await launch(extra);
      const state = await eventually(async () => (child?.exit ? 'ended' : (await isReady()) && 'ready'), {
        what: `${name} to be ready`,
        timeoutMs: READY_WITHIN_MS,
      });
      if (state === 'ended') throw new Error(`${name} ended before it was ready: ${JSON.stringify(child?.exit)}`);
    },
    ended,
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    freeze(frozen) {
      child?.signal(frozen ? 'SIGSTOP' : 'SIGCONT');
    },
    output: () => readFile(outputFile, 'utf8'),
    async remove() {
      await child?.end('SIGKILL');
      await supervisor.close();
    },
  };
}

/** Gives the service's dead messages a fresh set of attempts, by one call. */
export async function retryDead({ url }: ServiceProcess, service: string): Promise<void> {
  const answer = await call(`${url}/failed-messages/${service}/retry?status=dead`, { method: 'POST' });
  if (answer.status !== 202) throw new Error(`the retry got ${answer.status}: ${answer.text}`);
  const { left } = answer.json(schemas.retryResult);
  if (left > 0) throw new Error(`${left} dead messages were not retried`);
}
