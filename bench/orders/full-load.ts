// The benchmark of orders: the rates at which the system completes and accepts them, against a bare route that echoes
// them and a bare AMQP loop.
import { forkScript } from '../../demos/shared/child-process.ts';
import type { Benchmark } from '../benchmark.ts';
import {
  cpuMsPer,
  figure,
  inPhase,
  type Measured,
  routeCpuMs,
  routeRate,
  routeRateFigure,
  type Target,
} from '../figures.ts';
import type { Durations } from '../flood.ts';
import type { Load } from '../load.ts';
import { readTotals } from '../stored-totals.ts';
import type { Mode, System } from '../system.ts';
import { using } from '../using.ts';
import { ordersBaseline } from './baseline.ts';
import { measureBurst, measureSustained } from './measure.ts';

export interface FullLoadParameters {
  readonly sustained: Durations;
  /** Orders. */
  readonly burst: number;
  readonly amqpLoop: Durations;
  readonly targets: {
    /** As shares of the bare route's rate in the same round. */
    readonly completed: Readonly<Record<Mode, Target>>;
    readonly accepted: Readonly<Record<Mode, Target>>;
    /** The share of the sustained rate at which orders are completed during a burst. */
    readonly completedInBurst: Target;
    /** CPU per completed order, as a multiple of the bare route's per request. */
    readonly cost: Readonly<Partial<Record<Mode, Target>>>;
  };
}

const MAX_DRIFT = 1.15;
const MAX_BACKLOG_GROWTH = 0.05;
const LOOP_STARTED_WITHIN_MS = 30_000;

export const fullLoadBenchmark = (parameters: FullLoadParameters): Benchmark => ({
  baseline: ordersBaseline,
  redis: false,
  measure: (load, system) => measureOrders(load, system, parameters),
});

async function measureOrders(load: Load, system: System, parameters: FullLoadParameters): Promise<Measured> {
  const { targets } = parameters;
  const { mode, amqpUrl } = system;
  const sustained = await measureSustained(load, system, parameters.sustained);
  const burst = await measureBurst(load, system, parameters.burst);
  const { stored, settings } = await system.stopServices((query) =>
    readTotals(query, sustained.accepted + burst.orders),
  );
  const amqpLoop = amqpUrl ? await measureAmqpLoop(amqpUrl, parameters.amqpLoop) : undefined;

  const { completedPerSecond: completed, drift, backlogGrowth } = sustained;
  const accepted = burst.acceptedPerSecond;
  const cpuMs = cpuMsPer(completed, sustained.cpu);
  const checks = [
    // A rate that grows is as unsteady as one that falls.
    ['last third ÷ first third of the sustained load', Math.max(drift, 1 / drift), MAX_DRIFT],
    ['growth of the backlog, share of the completed orders', backlogGrowth, MAX_BACKLOG_GROWTH],
    ['resends of order.placed', stored.resends ?? Number.NaN, 0],
  ] as const;
  return {
    figures: (route) => [
      routeRateFigure('bare Express route, orders', route),
      ...inPhase('sustained', [
        figure('completed', '/s', completed),
        figure('completed ÷ route', 'ratio', completed / routeRate(route), targets.completed[mode]),
        figure('CPU per completed order', 'ms', cpuMs),
        figure('bare route: CPU per request', 'ms', routeCpuMs(route)),
        figure('CPU per order ÷ per request of the route', 'ratio', cpuMs / routeCpuMs(route), targets.cost[mode]),
        figure('bare amqplib loop, completed', '/s', amqpLoop),
        figure('completed ÷ bare amqplib loop', 'ratio', amqpLoop && completed / amqpLoop),
      ]),
      ...inPhase('burst', [
        figure('accepted', '/s', accepted),
        figure('accepted ÷ route', 'ratio', accepted / routeRate(route), targets.accepted[mode]),
        figure(
          'completed meanwhile ÷ sustained',
          'ratio',
          burst.completedPerSecond / completed,
          targets.completedInBurst,
        ),
        figure('until all are completed', 's', burst.completedAfterSeconds),
      ]),
    ],
    checks: checks.map(([name, value, most]) => ({ name, value, most })),
    settings,
    cpu: sustained.cpu,
    generatorCpu: [sustained.generatorCpu, burst.generatorCpu],
    curves: [{ title: 'Completed orders per second, sustained', values: sustained.completedEachSecond }],
    raw: { sustained, burst, stored, settings, amqpLoop },
  };
}

/** Orders per second of the bare AMQP loop (amqp-loop.ts), on the same broker. */
const measureAmqpLoop = (url: string, { warmUp, measured }: Durations): Promise<number> => {
  const args = [url, `${warmUp}`, `${measured}`];
  return using(
    forkScript('the bare AMQP loop', new URL('amqp-loop.ts', import.meta.url), args),
    (child) => child.end(),
    (child) => child.receive<number>(LOOP_STARTED_WITHIN_MS + (warmUp + measured) * 1_000),
  );
};
