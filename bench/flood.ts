// Floods, and measurements between two observations: rates of responses, and CPU time of the load generator and of
// processes with all their descendants, also of servers that report none themselves (from Linux's /proc).
import { setTimeout as delay } from 'node:timers/promises';
import { listProcesses, type ProcessEntry, treeOf } from '../test/servers/processes.ts';
import type { Load, Work } from './load.ts';

/** By status or by process. */
type Numbers = Readonly<Record<string, number>>;

/** `pids`: the processes whose CPU time counts, by name. */
export async function observe(load: Load, pids: Numbers) {
  const [sample, cpuMs] = await Promise.all([load.sample(), cpuTimes(pids)]);
  return { sample, cpuMs, at: Date.now() };
}
type Observation = Awaited<ReturnType<typeof observe>>;

export function intervalBetween(begin: Observation, end: Observation) {
  const elapsedMs = end.sample.elapsedMs - begin.sample.elapsedMs;
  const growth = (from: Numbers, to: Numbers, scale: number): Numbers =>
    Object.fromEntries(
      Object.entries(to).map(([name, value]) => [name, ((value - (from[name] ?? 0)) * scale) / elapsedMs]),
    );
  return {
    /** Responses by status. */
    perSecond: growth(begin.sample.responses, end.sample.responses, 1_000),
    /** Share of one CPU that the load generator used. */
    generatorCpu: (end.sample.cpuMs - begin.sample.cpuMs) / elapsedMs,
    /** Shares of one CPU by process; a server's includes its children. Empty without /proc. */
    cpu: growth(begin.cpuMs, end.cpuMs, 1),
    /** From and to, in milliseconds of this machine's clock, which its databases use too. */
    time: [begin.at, end.at] as const,
  };
}

/** The rate of responses with one of these statuses. */
export const rateOf = ({ perSecond }: { perSecond: Numbers }, ...statuses: readonly number[]): number =>
  statuses.reduce((sum, status) => sum + (perSecond[status] ?? 0), 0);

/** In milliseconds, by process. */
export const cpuTimes = (pids: Numbers): Promise<Numbers> => sumOverTrees(pids, ({ cpuMs }) => cpuMs);

/** Resident memory in megabytes, by process. */
export const memoryOf = (pids: Numbers): Promise<Numbers> => sumOverTrees(pids, ({ rssBytes }) => rssBytes / 2 ** 20);

async function sumOverTrees(pids: Numbers, pick: (entry: ProcessEntry) => number): Promise<Numbers> {
  if (process.platform !== 'linux') return {};
  const all = await listProcesses();
  return Object.fromEntries(
    Object.entries(pids).map(([name, root]) => {
      const tree = treeOf(root, all);
      return [name, all.filter(({ pid }) => tree.includes(pid)).reduce((sum, entry) => sum + pick(entry), 0)];
    }),
  );
}

const UNLIMITED = 1_000_000_000;

/** In seconds. The warm-up, in which code is still being compiled, does not count. */
export interface Durations {
  readonly warmUp: number;
  readonly measured: number;
}

export type Flooded = Awaited<ReturnType<typeof flood>>;

/**
 * Sends as many requests as the connections carry, each after the response to the one before; resolves when every
 * request has its response. `pids`: the processes whose CPU time counts, by name. `onMeasure` is called when the
 * measured time begins and when it ends.
 */
export async function flood(
  load: Load,
  work: Work,
  { warmUp, measured }: Durations,
  { pids = {}, onMeasure }: { pids?: Numbers; onMeasure?: () => Promise<void> } = {},
) {
  const observeAll = async () => (await Promise.all([observe(load, pids), onMeasure?.()]))[0];
  await load.open(work);
  load.allow(UNLIMITED);
  await delay(warmUp * 1_000);
  const begin = await observeAll();
  await delay(measured * 1_000);
  const end = await observeAll();
  /** By status, including the warm-up and the end. */
  const { responses } = await load.send(0);
  return { ...intervalBetween(begin, end), responses, latency: end.sample.latency };
}
