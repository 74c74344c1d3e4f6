// Runs a server in a container, with docker or podman, on machines without the server itself.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { startGuard } from '../../demos/shared/guard.ts';
import type { Runner } from './server.ts';

const run = promisify(execFile);

/** The installed and running engine, if any. */
export async function containerEngine(): Promise<string | undefined> {
  for (const engine of ['docker', 'podman']) {
    try {
      await run(engine, ['info'], { timeout: 10_000 });
      return engine;
    } catch {
      // Not installed, or its daemon does not run: try the next one.
    }
  }
  return undefined;
}

export interface Image {
  readonly engine: string;
  readonly image: string;
  /** Port on 127.0.0.1 → port in the container. */
  readonly ports: Readonly<Record<number, number>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Replaces the image's own command. */
  readonly command?: readonly string[];
}

export interface ContainerRunner extends Runner {
  /** Runs a program in the container and returns what it printed. */
  exec(...command: string[]): Promise<string>;
}

export async function containerRunner({
  engine,
  image,
  ports,
  env = {},
  command = [],
}: Image): Promise<ContainerRunner> {
  const name = `sluice-${randomUUID()}`;
  const guard = await startGuard('"$1" rm --force --volumes "$2"', engine, name);
  const cli = async (...args: string[]) => (await run(engine, args, { maxBuffer: 64 * 1024 * 1024 })).stdout.trim();
  // A pid of 0 means that the container does not run.
  const inspectPid = async () => Number(await cli('inspect', '--format', '{{.State.Pid}}', name)) || undefined;
  let created = false;
  let pid: number | undefined;
  return {
    get pid() {
      return pid;
    },
    async start() {
      if (created) await cli('start', name);
      else {
        const publish = Object.entries(ports).flatMap(([here, there]) => ['--publish', `127.0.0.1:${here}:${there}`]);
        const variables = Object.entries(env).flatMap(([key, value]) => ['--env', `${key}=${value}`]);
        await cli('run', '--detach', '--name', name, ...publish, ...variables, image, ...command);
        created = true;
      }
      pid = await inspectPid();
    },
    running: async () => (await inspectPid()) !== undefined,
    async kill(signal) {
      if ((await inspectPid()) === undefined) return;
      await cli('kill', '--signal', signal, name);
      await cli('wait', name);
      pid = undefined;
    },
    async log() {
      const { stdout, stderr } = await run(engine, ['logs', '--tail', '50', name]);
      return stdout + stderr;
    },
    exec: (...args) => cli('exec', name, ...args),
    remove: () => guard.close(),
  };
}
