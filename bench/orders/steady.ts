// Orders at a constant rate below the limit: what each costs, how fast the responses are, and whether memory, disk and
// responses stay as they are.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { mean, median, sum } from '../../demos/shared/statistics.ts';
import type { Benchmark } from '../benchmark.ts';
import { levelsOf, type Moment, ratesOf, readEverySecond } from '../curve.ts';
import { cpuMsPer, type Figure, figure, inPhase, type Measured, routeCpuMs, type Target } from '../figures.ts';
import { intervalBetween, memoryOf, observe } from '../flood.ts';
import { type Load, ordersTo, responseCount } from '../load.ts';
import { readCompleted, untilCompleted } from '../metrics.ts';
import { readTotals } from '../stored-totals.ts';
import type { System } from '../system.ts';
import { ordersBaseline } from './baseline.ts';

interface EnduranceTargets {
  /** The value of the last tenth of the time, as a multiple of the second tenth. */
  readonly p50: Target;
  readonly memory: Target;
  readonly kilobytesPerOrder: Target;
  readonly walMegabytes: Target;
}

export interface SteadyParameters {
  readonly perSecond: number;
  /** Seconds. */
  readonly warmUp: number;
  readonly measured: number;
  /** CPU per completed order, as a multiple of the bare route's per request. Without it, no route is measured. */
  readonly cost?: Target;
  /** Whether the last tenth of the time is compared with the second one, and the data folder is measured. */
  readonly endurance?: EnduranceTargets;
}

/** The warm-up's rate; more orders compile more code. */
const WARM_UP_FACTOR = 3;
/** If a larger share of the orders is not sent in time, all connections of the load generator were waiting. */
const MAX_MISSING = 0.02;

export const steadyBenchmark = (parameters: SteadyParameters): Benchmark => ({
  ...(parameters.cost && { baseline: ordersBaseline }),
  redis: false,
  measure: (load, system) => measure(load, system, parameters),
});

async function measure(load: Load, system: System, parameters: SteadyParameters): Promise<Measured> {
  const { perSecond, cost, endurance } = parameters;
  // The start that creates the database takes twice the memory of later ones.
  if (endurance) await system.processOf('order').server.restart();
  const diskBefore = endurance && (await diskUse(system.databaseFolder));
  const steady = await measureSteady(load, system, parameters);
  await untilCompleted(system, steady.accepted);
  const diskAfter = endurance && (await diskUse(system.databaseFolder));
  const { stored, settings } = await system.stopServices((query) => readTotals(query, steady.accepted));
  const { moments, completedPerSecond, cpu } = steady;
  const cpuMs = cpuMsPer(completedPerSecond, cpu);
  return {
    figures: (route) =>
      inPhase(`${perSecond}/s`, [
        figure('completed', '/s', completedPerSecond),
        figure('responses, p50', 'ms', steady.p50),
        figure('responses, p95', 'ms', steady.p95),
        figure('CPU per completed order', 'ms', cpuMs),
        ...(cost
          ? [
              figure('bare route: CPU per request', 'ms', routeCpuMs(route)),
              figure('CPU per completed order ÷ per request of the route', 'ratio', cpuMs / routeCpuMs(route), cost),
            ]
          : []),
        ...(endurance && diskBefore && diskAfter
          ? [
              ...growthFigures(moments, endurance),
              ...diskFigures(diskBefore, diskAfter, { orders: steady.accepted, ...endurance }),
            ]
          : []),
      ]),
    checks: [
      {
        name: 'orders that were not sent in time, share',
        value: 1 - steady.sentPerSecond / perSecond,
        most: MAX_MISSING,
      },
      { name: 'resends of order.placed', value: stored.resends ?? Number.NaN, most: 0 },
    ],
    settings,
    cpu,
    generatorCpu: [steady.generatorCpu],
    curves: [
      { title: 'Completed orders per second', values: ratesOf(moments, 'completed') },
      { title: 'Responses, p50 in milliseconds', values: levelsOf(moments, 'p50') },
      { title: 'Responses, p95 in milliseconds', values: levelsOf(moments, 'p95') },
      { title: 'Memory of all processes, in megabytes', values: levelsOf(moments, 'memory') },
    ],
    raw: { steady, stored, settings, diskBefore, diskAfter },
  };
}

/** Ends when every order is accepted. */
export async function measureSteady(
  load: Load,
  system: System,
  { perSecond, warmUp, measured }: Pick<SteadyParameters, 'perSecond' | 'warmUp' | 'measured'>,
) {
  const { completed: before } = await readCompleted(system);
  await load.open(ordersTo(system.url));
  if (warmUp > 0) {
    load.pace(perSecond * WARM_UP_FACTOR);
    await delay(warmUp * 1_000);
    await untilCompleted(system, before + responseCount(await load.send(0)));
  }
  load.pace(perSecond);
  await load.sample(); // discards the latencies of the warm-up
  const begin = await observe(load, system.pids);
  const moments = await readEverySecond(() => momentOf(load, system), { seconds: measured });
  const end = await observe(load, system.pids);
  const accepted = responseCount(await load.send(0));
  const { perSecond: responses, cpu, generatorCpu } = intervalBetween(begin, end);
  const rates = ratesOf(moments, 'completed');
  return {
    sentPerSecond: responses[201] ?? 0,
    completedPerSecond: mean(rates),
    p50: median(levelsOf(moments.slice(1), 'p50')),
    p95: median(levelsOf(moments.slice(1), 'p95')),
    cpu,
    generatorCpu,
    /** Since `open`. */
    accepted,
    moments,
  };
}

async function momentOf(load: Load, system: System) {
  const [{ latency }, { completed }, memory] = await Promise.all([
    load.sample(),
    readCompleted(system),
    memoryOf(system.pids),
  ]);
  const { p50 = 0, p95 = 0 } = latency[201] ?? {};
  return { completed, p50, p95, memory: sum(Object.values(memory)) };
}

function growthFigures(moments: readonly Moment[], { p50, memory }: EnduranceTargets): Figure[] {
  const growth = (name: string) => {
    const tenths = tenthsOf(levelsOf(moments, name));
    return Number(tenths[9]) / Number(tenths[1]);
  };
  return [
    figure('responses, p50: last tenth of the time ÷ second tenth', 'ratio', growth('p50'), p50),
    figure('memory: last tenth of the time ÷ second tenth', 'ratio', growth('memory'), memory),
    figure('memory', 'MB', levelsOf(moments, 'memory').at(-1)),
  ];
}

const diskFigures = (
  before: DiskUse,
  after: DiskUse,
  { orders, kilobytesPerOrder, walMegabytes }: EnduranceTargets & { orders: number },
): Figure[] => [
  figure(
    'growth of the data folder, per order, without WAL',
    'kB',
    (after.dataBytes - before.dataBytes) / 1_000 / orders,
    kilobytesPerOrder,
  ),
  figure('WAL', 'MB', after.walBytes / 1_000_000, walMegabytes),
];

/** The median of each tenth of the values. */
const tenthsOf = (values: readonly number[]): number[] =>
  Array.from({ length: 10 }, (_, tenth) => {
    const from = Math.floor((tenth * values.length) / 10);
    return median(values.slice(from, Math.max(from + 1, Math.floor(((tenth + 1) * values.length) / 10))));
  });

type DiskUse = Awaited<ReturnType<typeof diskUse>>;

/** The disk use of an embedded database: its write-ahead log, and all other files. */
async function diskUse(folder: string) {
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const sizes = await Promise.all(
    files.map(async ({ parentPath, name }) => {
      // The database removes files meanwhile.
      const bytes = await stat(join(parentPath, name)).then(
        ({ size }) => size,
        () => 0,
      );
      return { wal: parentPath.includes('pg_wal'), bytes };
    }),
  );
  const sum = (of: typeof sizes) => of.reduce((all, { bytes }) => all + bytes, 0);
  return { dataBytes: sum(sizes.filter(({ wal }) => !wal)), walBytes: sum(sizes.filter(({ wal }) => wal)) };
}
