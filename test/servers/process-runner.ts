// Runs a server as a process of our own: in a process group of its own, its output in a file, never left behind.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { User } from '../../demos/shared/folder.ts';
import { startGuard } from '../../demos/shared/guard.ts';
import { killTree, signal } from './processes.ts';
import type { Runner } from './server.ts';

export interface Command {
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment: nothing is inherited, so that settings for the system's servers have no effect here. */
  readonly env: Readonly<Record<string, string>>;
  /** Who it runs as, for a server that refuses to be root. */
  readonly user?: User | undefined;
}

/** `folder` holds everything of this server and is removed with it; then `onRemoved` is called. */
export async function processRunner(
  folder: string,
  { command, args, env, user }: Command,
  onRemoved?: () => Promise<void>,
): Promise<Runner> {
  const logFile = join(folder, 'output.log');
  const guard = await startGuard(
    // Removes twice, because a process that is just ending may still create a file.
    '[ -z "$last" ] || kill -s KILL -- "-$last"; rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }',
    folder,
  );
  let child: ChildProcess | undefined;

  const runningPid = () => (child && child.exitCode === null && child.signalCode === null ? child.pid : undefined);

  const kill = async (name: NodeJS.Signals) => {
    const pid = runningPid();
    if (pid === undefined) return;
    if (name === 'SIGKILL') await killTree(pid);
    else signal(pid, name);
    const deadline = Date.now() + 30_000;
    while (runningPid() === pid) {
      if (Date.now() > deadline) throw new Error(`process ${pid} did not end within 30 s of ${name}`);
      await delay(20);
    }
  };

  return {
    get pid() {
      return runningPid();
    },
    async start() {
      const log = openSync(logFile, 'a');
      try {
        child = spawn(command, args, {
          cwd: folder,
          env: { ...env },
          stdio: ['ignore', log, log],
          detached: true, // leads a process group, which the guard kills
          ...user,
        });
      } finally {
        closeSync(log);
      }
      await once(child, 'spawn');
      guard.tell(String(child.pid));
      // By then the number may be someone else's.
      child.once('exit', () => guard.tell(''));
    },
    running: async () => runningPid() !== undefined,
    kill,
    log: () => readFile(logFile, 'utf8'),
    async remove() {
      await kill('SIGKILL');
      await guard.close();
      await onRemoved?.();
    },
  };
}
