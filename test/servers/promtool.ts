// Prometheus' promtool, which checks metrics and rules. It needs no running server.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { findPrograms, ServerMissing } from './programs.ts';

/** Whether this machine has promtool; in CI it must. */
export const hasPromtool = async (): Promise<boolean> =>
  Boolean(process.env.CI) ||
  findPrograms('promtool').then(
    ({ kind }) => kind === 'installed',
    () => false,
  );

/** Resolves with its exit code and all its output. Rejects with ServerMissing. */
export async function promtool(args: readonly string[], input = ''): Promise<{ code: number; output: string }> {
  const programs = await findPrograms('promtool');
  if (programs.kind !== 'installed') throw new ServerMissing('promtool');
  const child = spawn(join(programs.folder, programs.program), args);
  child.stdin.end(input);
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code, output: output + errors };
}
