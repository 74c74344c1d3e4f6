// Floods, and measurements between two observations: rates of responses, and CPU time of the load generator and of
// processes with all their descendants, also of servers that report none themselves (from Linux's /proc).
import { setTimeout as delay } from 'node:timers/promises';
import { listProcesses, treeOf } from '../test/servers/processes.ts';
import type { RequestLatency } from './generator.ts';
import type { Load, Work } from './load.ts';

/** From and to, in microseconds of the monotonic clock that CPU profiles use. */
export type Window = readonly [number, number];
export const micros = () => Number(process.hrtime.bigint() / 1_000n);

/** By status or by process. */
type Numbers = Readonly<Record<string, number>>;

export interface Interval {
  /** Responses by status. */
  readonly perSecond: Numbers;
  /** Share of one CPU that the load generator used. */
  readonly generatorCpu: number;
  /** Shares of one CPU by process; a server's includes its children. Empty without /proc. */
  readonly cpu: Numbers;
  readonly window: Window;
}

/** `pids`: the processes whose CPU time counts, by name. */
export async function observe(load: Load, pids: Numbers) {
  const [sample, cpuMs] = await Promise.all([load.sample(), cpuTimes(pids)]);
  return { sample, cpuMs, at: micros() };
}
type Observation = Awaited<ReturnType<typeof observe>>;

export function intervalBetween(begin: Observation, end: Observation): Interval {
  const elapsedMs = end.sample.elapsedMs - begin.sample.elapsedMs;
  const growth = (from: Numbers, to: Numbers, scale: number) =>
    Object.fromEntries(
      Object.entries(to).map(([name, value]) => [name, ((value - (from[name] ?? 0)) * scale) / elapsedMs]),
    );
  return {
    perSecond: growth(begin.sample.responses, end.sample.responses, 1_000),
    generatorCpu: (end.sample.cpuMs - begin.sample.cpuMs) / elapsedMs,
    cpu: growth(begin.cpuMs, end.cpuMs, 1),
    window: [begin.at, end.at],
  };
}

/** The rate of responses with one of these statuses. */
export const rateOf = ({ perSecond }: Pick<Interval, 'perSecond'>, ...statuses: readonly number[]): number =>
  statuses.reduce((sum, status) => sum + (perSecond[status] ?? 0), 0);

async function cpuTimes(pids: Numbers): Promise<Numbers> {
  if (process.platform !== 'linux') return {};
  const all = await listProcesses();
  return Object.fromEntries(
    Object.entries(pids).map(([name, root]) => {
      const tree = treeOf(root, all);
      return [name, all.filter(({ pid }) => tree.includes(pid)).reduce((sum, { cpuMs }) => sum + cpuMs, 0)];
    }),
  );
}

const UNLIMITED = 1_000_000_000;

/** In seconds. The warm-up, in which code is still being compiled, does not count. */
export interface Durations {
  readonly warmUp: number;
  readonly measured: number;
}

export interface Flooded extends Interval {
  /** Responses by status, including the warm-up and the end. */
  readonly responses: Readonly<Record<number, number>>;
  readonly latency: Readonly<Record<number, RequestLatency>>;
}

/**
 * As many requests as the connections carry, each response followed by the next request, for `warmUp` and `measured`; resolves when every request has its response. `pids`: the processes whose CPU time
 * counts, by name. `onMeasure` is called when the measured time begins and when it ends.
 */
export async function flood(
  load: Load,
  work: Work,
  { warmUp, measured }: Durations,
  { pids, onMeasure }: { pids: Readonly<Record<string, number>>; onMeasure?: () => Promise<void> },
): Promise<Flooded> {
  const look = async () => (await Promise.all([observe(load, pids), onMeasure?.()]))[0];
  await load.open(work);
  load.allow(UNLIMITED);
  await delay(warmUp * 1_000);
  const begin = await look();
  await delay(measured * 1_000);
  const end = await look();
  const { responses } = await load.send(0);
  return { ...intervalBetween(begin, end), responses, latency: end.sample.latency };
}
