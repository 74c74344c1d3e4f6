// CPU time of processes with all their descendants, from Linux's /proc: also of servers, which tell nobody themselves.
import { listProcesses, treeOf } from '../test/servers/processes.ts';

/** Milliseconds so far, by name; empty where there is no /proc. */
export async function cpuTimes(pids: Readonly<Record<string, number>>): Promise<Record<string, number>> {
  if (process.platform !== 'linux') return {};
  const all = await listProcesses();
  return Object.fromEntries(
    Object.entries(pids).map(([name, root]) => {
      const tree = treeOf(root, all);
      return [name, all.filter(({ pid }) => tree.includes(pid)).reduce((sum, { cpuMs }) => sum + cpuMs, 0)];
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
