// Cleans up even when this process is killed: a shell in a session of its own waits on a pipe from here and does its
// work at the pipe's end, which comes when the guard is closed or when this process dies, in whatever way.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

export interface Guard {
  /** Tells the script what there is to clean up now: `$last` in it is the last line told. */
  tell(line: string): void;
  /** Runs the script now and resolves when it is done. Safe to call twice. */
  close(): Promise<void>;
}

/** `script` is for POSIX sh and may use `$1`, `$2`, … (`args`) and `$last`. */
export async function startGuard(script: string, ...args: string[]): Promise<Guard> {
  const shell = `while read -r line; do last=$line; done; ${script}`;
  const child = spawn('sh', ['-c', shell, 'guard', ...args], {
    detached: true, // a session of its own: Ctrl-C in the terminal does not reach it
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
  });
  const exited = once(child, 'exit');
  await once(child, 'spawn');
  return {
    tell(line) {
      if (!child.stdin.writableEnded) child.stdin.write(`${line}\n`);
    },
    async close() {
      child.stdin.end();
      await exited;
    },
  };
}
