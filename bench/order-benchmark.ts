// The benchmark of orders: the rates at which the system completes and accepts them, against a bare route that echoes
// them and a bare AMQP loop.
import { forkScript } from '../demos/shared/child-process.ts';
import { figure, inPhase, type Measured, routeRate, routeRateFigure } from './figures.ts';
import { type Load, ordersTo } from './load.ts';
import { measureBurst, measureSustained } from './measure.ts';
import type { Benchmark } from './run.ts';
import { readTotals } from './stored-totals.ts';
import type { System } from './system.ts';
import { using } from './using.ts';

/** As shares of the bare route's rate in the same round. */
const COMPLETED = { embedded: { least: 0.12 }, separate: { least: 0.2 } };
const ACCEPTED = { embedded: { least: 0.25 }, separate: { least: 0.4 } };
/** The share of the sustained rate at which orders are completed during a burst. */
const BURST_COMPLETION = { least: 0.5 };
const MAX_DRIFT = 1.15;
const MAX_BACKLOG_GROWTH = 0.05;
const LOOP_STARTED_WITHIN_MS = 30_000;

const AMQP_LOOP = { warmUp: 4, measured: 10 };
const SUSTAINED_WARM_UP = 15;
const BURST_ORDERS = 10_000;

/** `seconds`: how long the load is sustained. */
export const orderBenchmark = (seconds: number): Benchmark => ({
  route: 'order',
  routeWork: ordersTo,
  routeDurations: { warmUp: 3, measured: 8 },
  minHeadroom: 3,
  redis: false,
  measure: (load, system) => measureOrders(load, system, seconds),
});

async function measureOrders(load: Load, system: System, seconds: number): Promise<Measured> {
  const { mode, amqpUrl } = system;
  const sustained = await measureSustained(load, system, { warmUp: SUSTAINED_WARM_UP, measured: seconds });
  const burst = await measureBurst(load, system, BURST_ORDERS);
  const { stored, settings } = await system.stopServices((query) =>
    readTotals(query, sustained.accepted + burst.orders),
  );
  const amqpLoop = amqpUrl ? await measureAmqpLoop(amqpUrl) : undefined;

  const { completedPerSecond: completed, drift, backlogGrowth } = sustained;
  const accepted = burst.acceptedPerSecond;
  const checks = [
    // A rate that grows is as unsteady as one that falls.
    ['last third ÷ first third of the sustained load', Math.max(drift, 1 / drift), MAX_DRIFT],
    ['growth of the backlog, share of the completed orders', backlogGrowth, MAX_BACKLOG_GROWTH],
    ['orders whose request was resent', stored.resends ?? Number.NaN, 0],
  ] as const;
  return {
    figures: (route) => [
      routeRateFigure('bare Express route, orders answered', route),
      ...inPhase('sustained', [
        figure('completed', '/s', completed),
        figure('completed ÷ route', 'ratio', completed / routeRate(route), COMPLETED[mode]),
        figure('bare amqplib loop, completed', '/s', amqpLoop),
        figure('completed ÷ bare amqplib loop', 'ratio', amqpLoop && completed / amqpLoop),
      ]),
      ...inPhase('burst', [
        figure('accepted', '/s', accepted),
        figure('accepted ÷ route', 'ratio', accepted / routeRate(route), ACCEPTED[mode]),
        figure('completed meanwhile ÷ sustained', 'ratio', burst.completedPerSecond / completed, BURST_COMPLETION),
        figure('until all are completed', 's', burst.completedAfterSeconds),
      ]),
    ],
    checks: checks.map(([name, value, most]) => ({ name, value, most })),
    settings,
    cpu: sustained.cpu,
    generatorCpu: [sustained.generatorCpu, burst.generatorCpu],
    raw: { sustained, burst, stored, settings, amqpLoop },
  };
}

/** Orders per second of the bare AMQP loop (amqp-loop.ts), on the same broker. */
const measureAmqpLoop = (url: string): Promise<number> => {
  const args = [url, `${AMQP_LOOP.warmUp}`, `${AMQP_LOOP.measured}`];
  return using(
    forkScript('the bare AMQP loop', new URL('amqp-loop.ts', import.meta.url), args),
    (child) => child.end(),
    (child) => child.receive<number>(LOOP_STARTED_WITHIN_MS + (AMQP_LOOP.warmUp + AMQP_LOOP.measured) * 1_000),
  );
};
