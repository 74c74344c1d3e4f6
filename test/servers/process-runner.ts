// Runs a server as a child process in a process group of its own, with its output in a file. It never outlives the
// tests.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Child, type Program, Supervisor } from '../../demos/shared/child-process.ts';
import { within } from '../../infra/runtime/promises.ts';
import { killTree } from './processes.ts';
import type { Runner } from './server.ts';

export type Command = Required<Pick<Program, 'command'>> & Pick<Program, 'args' | 'env' | 'user'>;

/** `folder` contains all files of the server and is removed with it; then `onRemoved` is called. */
export async function processRunner(
  folder: string,
  command: Command,
  onRemoved?: () => Promise<void>,
): Promise<Runner> {
  const outputFile = join(folder, 'output.log');
  const supervisor = await Supervisor.open(folder);
  let child: Child | undefined;

  const kill = async (name: NodeJS.Signals) => {
    const pid = child?.pid;
    if (!child || pid === undefined) return;
    if (name === 'SIGKILL') await killTree(pid);
    else child.signal(name);
    await within(30_000, child.exited, () => new Error(`process ${pid} did not end within 30 s of ${name}`));
  };

  return {
    get pid() {
      return child?.pid;
    },
    async start() {
      child = await supervisor.start({ name: command.command, ...command, outputFile });
    },
    running: async () => child?.pid !== undefined,
    kill,
    log: () => readFile(outputFile, 'utf8'),
    async remove() {
      await kill('SIGKILL');
      await supervisor.close();
      await onRemoved?.();
    },
  };
}
