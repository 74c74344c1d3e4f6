// Process trees. PostgreSQL's backends leave their server's process group, so a whole server is killed by its
// descendants.
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  /** CPU time so far, including that of children that have ended and were waited for; 0 on systems without /proc. */
  readonly cpuMs: number;
  /** Resident memory; 0 on systems without /proc. Processes that share memory all count it. */
  readonly rssBytes: number;
}

/** Linux's unit of CPU time, on every platform that Node runs on (sysconf(_SC_CLK_TCK) is 100). */
const TICK_MS = 10;
const PAGE_BYTES = 4_096;

/** All processes except zombies. */
export async function listProcesses(): Promise<ProcessEntry[]> {
  if (process.platform !== 'linux') {
    const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=,stat=']);
    return stdout
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields.length === 3 && !fields[2]?.startsWith('Z'))
      .map(([pid, parent]) => ({ pid: Number(pid), parent: Number(parent), cpuMs: 0, rssBytes: 0 }));
  }
  // Not `ps`, which slim container images do not have.
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const entries = await Promise.all(
    pids.map(async (pid) => {
      // The process may end meanwhile.
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
      // proc(5): "pid (name) state ppid …"; the name may hold spaces and parentheses. utime to cstime are fields 14 to
      // 17, rss is field 24.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const [state, parent] = fields;
      const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
      if (!parent || state === 'Z') return undefined;
      const rssBytes = Number(fields[21]) * PAGE_BYTES;
      return { pid: Number(pid), parent: Number(parent), cpuMs: ticks * TICK_MS, rssBytes };
    }),
  );
  return entries.filter((entry) => entry !== undefined);
}

/** The ids of a process and its descendants among `all`. */
export function treeOf(root: number, all: readonly ProcessEntry[]): number[] {
  const found = [root];
  // `found` grows during the iteration, so this reaches every generation.
  for (const pid of found) found.push(...all.filter((entry) => entry.parent === pid).map((entry) => entry.pid));
  return found;
}

/** Ignores a process that has ended meanwhile. */
function killNow(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** Kills a process and all its descendants (SIGKILL); resolves when they have ended, rejects after 10 s. */
export async function killTree(root: number): Promise<void> {
  const tree = treeOf(root, await listProcesses());
  for (const pid of tree) killNow(pid);
  const deadline = Date.now() + 10_000;
  for (;;) {
    const left = (await listProcesses()).filter((entry) => tree.includes(entry.pid)).map((entry) => entry.pid);
    if (left.length === 0) return;
    if (Date.now() > deadline) throw new Error(`processes ${left.join(', ')} did not end within 10 s of SIGKILL`);
    await delay(20);
  }
}
