// The benchmark of orders: the rates at which the system completes and accepts them, against a bare route that echoes
// them and a bare AMQP loop.
import { serviceNames } from '../contracts/services.ts';
import { forkScript } from '../demos/shared/child-process.ts';
import {
  type Measured,
  type Measurement,
  type RouteFloods,
  routeRate,
  routeRateFigure,
  type Target,
  type Unit,
} from './figures.ts';
import type { Durations } from './flood.ts';
import { type Load, ordersTo } from './load.ts';
import { type Burst, measureBurst, measureSustained, type Sustained } from './measure.ts';
import type { Benchmark } from './run.ts';
import { readTotals } from './stored-totals.ts';
import type { Mode, System } from './system.ts';
import { using } from './using.ts';

/** As shares of the bare route's rate in the same round. */
const COMPLETED = { embedded: { least: 0.12 }, separate: { least: 0.2 } };
const ACCEPTED = { embedded: { least: 0.25 }, separate: { least: 0.4 } };
/** The share of the sustained rate at which orders are completed during a burst. */
const BURST_COMPLETION = { least: 0.5 };
const MAX_DRIFT = 1.15;
const MAX_BACKLOG_GROWTH = 0.05;
const LOOP_STARTED_WITHIN_MS = 30_000;

/** In seconds, but for the number of orders in the burst. */
const shortPlan = {
  route: { warmUp: 2, measured: 3 },
  sustained: { warmUp: 5, measured: 8 },
  amqpLoop: { warmUp: 2, measured: 4 },
  burstOrders: 2_000,
};
const longPlan = (seconds: number): typeof shortPlan => ({
  route: { warmUp: 3, measured: 8 },
  sustained: { warmUp: 15, measured: seconds },
  amqpLoop: { warmUp: 4, measured: 10 },
  burstOrders: 10_000,
});

/** `seconds`: how long the load is sustained. `short`: only to see that it works. */
export function orderBenchmark({ seconds, short }: { seconds: number; short: boolean }): Benchmark {
  const plan = short ? shortPlan : longPlan(seconds);
  return {
    route: 'order',
    routeWork: ordersTo,
    routeDurations: plan.route,
    minHeadroom: 3,
    redis: false,
    phases: ['sustained', 'burst'],
    profiled: (mode) => (mode === 'embedded' ? ['all'] : serviceNames),
    measure: (load, system) => measureOrders(load, system, plan),
    cpuDuring: 'while the load is sustained',
  };
}

async function measureOrders(load: Load, system: System, plan: typeof shortPlan): Promise<Measured> {
  const sustained = await measureSustained(load, system, plan.sustained);
  const burst = await measureBurst(load, system, plan.burstOrders);
  const stored = await system.stopServices((query) => readTotals(query, sustained.accepted + burst.orders));
  const amqpLoop = system.amqpUrl ? await measureAmqpLoop(system.amqpUrl, plan.amqpLoop) : undefined;
  const { drift, backlogGrowth, completedPerSecond, window } = sustained;
  const completedInWindow = (completedPerSecond * (window[1] - window[0])) / 1_000_000;
  const checks = [
    // A rate that grows is as unsteady as one that falls.
    ['last third ÷ first third of the sustained load', Math.max(drift, 1 / drift), MAX_DRIFT],
    ['growth of the backlog, share of the completed orders', backlogGrowth / completedInWindow, MAX_BACKLOG_GROWTH],
    ['orders whose request was resent', stored.counts.resends ?? Number.NaN, 0],
  ] as const;
  return {
    figures: (route) => figuresOf(system.mode, route, { sustained, burst, amqpLoop }),
    checks: () => checks.map(([name, value, most]) => ({ name, value, most })),
    windows: { sustained: sustained.window, burst: burst.window },
    settings: stored.settings,
    cpu: sustained.cpu,
    generatorCpu: [sustained.generatorCpu, burst.generatorCpu],
    raw: { sustained, burst, stored, amqpLoop },
  };
}

/** Orders per second of the bare AMQP loop (amqp-loop.ts), on the same broker. */
const measureAmqpLoop = (url: string, { warmUp, measured }: Durations): Promise<number> =>
  using(
    forkScript('the bare AMQP loop', new URL('amqp-loop.ts', import.meta.url), [url, `${warmUp}`, `${measured}`]),
    (child) => child.end(),
    (child) => child.receive<number>(LOOP_STARTED_WITHIN_MS + (warmUp + measured) * 1_000),
  );

/** `amqpLoop`: undefined without a broker. */
function figuresOf(
  mode: Mode,
  route: RouteFloods,
  { sustained, burst, amqpLoop }: { sustained: Sustained; burst: Burst; amqpLoop: number | undefined },
): Measurement[] {
  const figure =
    (phase: string) =>
    (name: string, unit: Unit, value: number | undefined, target?: Target): Measurement => ({
      ...{ phase, name, unit, values: value === undefined ? [] : [value], target },
    });
  const [ofSustained, ofBurst] = [figure('sustained'), figure('burst')];
  const completed = sustained.completedPerSecond;
  const accepted = burst.acceptedPerSecond;
  return [
    routeRateFigure('bare Express route, orders answered', route),
    ofSustained('completed', '/s', completed),
    ofSustained('completed ÷ route', 'ratio', completed / routeRate(route), COMPLETED[mode]),
    ofBurst('accepted', '/s', accepted),
    ofBurst('accepted ÷ route', 'ratio', accepted / routeRate(route), ACCEPTED[mode]),
    ofBurst('completed meanwhile ÷ sustained', 'ratio', burst.completedPerSecond / completed, BURST_COMPLETION),
    ofBurst('until all are completed', 's', burst.completedAfterSeconds),
    ofSustained('bare amqplib loop, completed', '/s', amqpLoop),
    ofSustained('completed ÷ bare amqplib loop', 'ratio', amqpLoop && completed / amqpLoop),
  ];
}
