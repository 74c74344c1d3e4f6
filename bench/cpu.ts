// CPU time of processes with all their descendants, from Linux's /proc: also of servers, which tell nobody themselves.
import { readdir, readFile } from 'node:fs/promises';

/** Linux counts in these, on every platform that Node runs on (sysconf(_SC_CLK_TCK) is 100). */
const TICK_MS = 10;

interface Entry {
  readonly pid: number;
  readonly parent: number;
  readonly ms: number;
}

/** Milliseconds so far, by name; empty where there is no /proc. Includes children that have ended and were waited for. */
export async function cpuTimes(pids: Readonly<Record<string, number>>): Promise<Record<string, number>> {
  if (process.platform !== 'linux') return {};
  const entries = await readEntries();
  return Object.fromEntries(
    Object.entries(pids).map(([name, root]) => {
      const tree = [root];
      // `tree` grows while it is walked, so this reaches every generation.
      for (const pid of tree) tree.push(...entries.filter(({ parent }) => parent === pid).map((entry) => entry.pid));
      const ms = entries.filter(({ pid }) => tree.includes(pid)).reduce((sum, entry) => sum + entry.ms, 0);
      return [name, ms];
    }),
  );
}

/** Of one CPU, by name: what was used between two readings. */
export const cpuShares = (
  begin: Readonly<Record<string, number>>,
  end: Readonly<Record<string, number>>,
  elapsedMs: number,
): Record<string, number> =>
  Object.fromEntries(Object.entries(end).map(([name, ms]) => [name, (ms - (begin[name] ?? 0)) / elapsedMs]));

async function readEntries(): Promise<Entry[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const entries = await Promise.all(
    pids.map(async (pid) => {
      // It may end while we look.
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
      // proc(5): "pid (name) state ppid …"; the name may hold spaces. utime to cstime are fields 14 to 17.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
      return fields[1] ? { pid: Number(pid), parent: Number(fields[1]), ms: ticks * TICK_MS } : undefined;
    }),
  );
  return entries.filter((entry) => entry !== undefined);
}
