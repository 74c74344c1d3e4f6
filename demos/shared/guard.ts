// Cleans up even if this process is killed: a shell in its own session reads from a pipe and runs its script when the
// pipe closes, which happens when the guard is closed and when this process dies in any way.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

export type Guard = Awaited<ReturnType<typeof startGuard>>;

/** `script` is for POSIX sh and may use `$1`, `$2`, … (`args`) and `$last`. */
export async function startGuard(script: string, ...args: string[]) {
  const shell = `while read -r line; do last=$line; done; ${script}`;
  const child = spawn('sh', ['-c', shell, 'guard', ...args], {
    detached: true, // its own session, which Ctrl-C in the terminal does not reach
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
  });
  const exited = once(child, 'exit');
  await once(child, 'spawn');
  return {
    /** Sends a line to the script, where `$last` is the last line sent, such as the resources to clean up now. */
    tell(line: string): void {
      if (!child.stdin.writableEnded) child.stdin.write(`${line}\n`);
    },
    /** Runs the script and resolves when it has ended. Safe to call twice. */
    async close(): Promise<void> {
      child.stdin.end();
      await exited;
    },
  };
}
