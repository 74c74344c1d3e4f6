// The CPU and memory of a system while it has nothing to do.
import { setTimeout as delay } from 'node:timers/promises';
import { sum } from '../demos/shared/statistics.ts';
import type { Benchmark } from './benchmark.ts';
import { levelsOf, rateBetween, ratesOf, readEverySecond } from './curve.ts';
import { figure, inPhase, type Measured, type Target } from './figures.ts';
import { cpuTimes, memoryOf } from './flood.ts';
import type { System } from './system.ts';

export interface IdleParameters {
  /** Seconds: after the start, and of the measurement. */
  readonly settle: number;
  readonly measured: number;
  /** The share of one core. */
  readonly cpuPercent: Target;
  readonly memoryMegabytes: Target;
}

export const idleBenchmark = (parameters: IdleParameters): Benchmark => ({
  redis: false,
  measure: (_load, system) => measure(system, parameters),
});

async function measure(system: System, { settle, measured, cpuPercent, memoryMegabytes }: IdleParameters) {
  // The start that creates the database takes twice the memory of later ones.
  await system.processOf('order').server.restart();
  await delay(settle * 1_000);
  const { pids } = system;
  const moments = await readEverySecond(
    async () => ({ cpuMs: total(await cpuTimes(pids)), memory: total(await memoryOf(pids)) }),
    { seconds: measured },
  );
  const [first, last] = [moments[0], moments.at(-1)];
  if (!first || !last) throw new Error('nothing was measured');
  const percentOf = (cpuMsPerSecond: number) => cpuMsPerSecond / 10;
  const { settings } = await system.stopServices(async () => undefined);
  return {
    figures: () =>
      inPhase('idle', [
        figure('CPU, of one core', '%', percentOf(rateBetween(first, last, 'cpuMs')), cpuPercent),
        figure('memory', 'MB', last.values.memory, memoryMegabytes),
      ]),
    checks: [],
    settings,
    cpu: {},
    generatorCpu: [],
    curves: [
      { title: 'CPU in percent of one core', values: ratesOf(moments, 'cpuMs').map(percentOf) },
      { title: 'Memory in megabytes', values: levelsOf(moments, 'memory') },
    ],
    raw: { moments },
  } satisfies Measured;
}

const total = (values: Readonly<Record<string, number>>) => sum(Object.values(values));
