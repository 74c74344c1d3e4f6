// The benchmarks with all their parameters and targets, in seconds and orders. One round of all short benchmarks takes
// less than 15 minutes; a long benchmark runs only if it is named, or with `full`.

import type { Benchmark, NamedBenchmark } from './benchmark.ts';
import type { Target } from './figures.ts';
import { floodBenchmark } from './floods/benchmark.ts';
import { idleBenchmark } from './idle.ts';
import { awayBenchmark } from './orders/away.ts';
import { fullLoadBenchmark } from './orders/full-load.ts';
import { steadyBenchmark } from './orders/steady.ts';
import { MODELS, storedBenchmark } from './orders/stored.ts';
import { saleBenchmark } from './sale/benchmark.ts';
import { scaleBenchmark } from './scale.ts';
import { MODES, type Mode } from './system.ts';

const embedded: readonly Mode[] = ['embedded'];
const separate: readonly Mode[] = ['separate'];

const named = (name: string, about: string, modes: readonly Mode[], benchmark: Benchmark): NamedBenchmark => ({
  name,
  about,
  modes,
  benchmark,
});

/** Scales a duration or a size. */
type Scaled = (value: number) => number;

const shortOrderBenchmarks = (scaled: Scaled): NamedBenchmark[] => [
  named(
    'orders',
    'orders at full load and in a burst, against a bare Express route and a bare AMQP loop',
    MODES,
    fullLoadBenchmark({
      sustained: { warmUp: scaled(12), measured: scaled(30) },
      burst: scaled(10_000),
      amqpLoop: { warmUp: scaled(3), measured: scaled(8) },
      targets: {
        completed: { embedded: { least: 0.22 }, separate: { least: 0.3 } },
        accepted: { embedded: { least: 0.45 }, separate: { least: 0.45 } },
        completedInBurst: { least: 0.5 },
        cost: { separate: { most: 6.5 } },
      },
    }),
  ),
  named(
    'steady',
    'the cost of an order at 200/s, against a request of a bare Express route',
    separate,
    steadyBenchmark({ perSecond: 200, warmUp: scaled(8), measured: scaled(20), cost: { most: 10 } }),
  ),
];

const shortBenchmarks = (scaled: Scaled): NamedBenchmark[] => [
  ...shortOrderBenchmarks(scaled),
  named(
    'sale',
    'the pace of a sale and the responses to its crowd, beside the same crowd at a perfect server',
    MODES,
    saleBenchmark([
      {
        phase: 'default, cold',
        buyers: 10_000,
        seconds: 10,
        stock: 500,
        queueCap: 200,
        drainPerSecond: 100,
        mean: { least: 93 },
        responses: { p50: 50, p99: 1_000, timesPerfect: 1.3 },
      },
      {
        phase: 'sustained',
        buyers: scaled(30) * 1_000,
        seconds: scaled(30),
        stock: scaled(30) * 100,
        queueCap: 200,
        drainPerSecond: 100,
        mean: { least: 98, most: 102 },
        eachSecond: { least: 90, most: 110 },
      },
    ]),
  ),
  named(
    'flood',
    'purchases over connections that never pause, against a bare Express route that rejects',
    MODES,
    floodBenchmark({
      durations: {
        full: { warmUp: scaled(3), measured: scaled(30) },
        'sold out': { warmUp: 1, measured: scaled(4) },
        overload: { warmUp: scaled(2), measured: scaled(30) },
        unbounded: { warmUp: 1, measured: scaled(5) },
      },
      targets: {
        decisions: { embedded: { least: 2.2 }, separate: { least: 1.6 } },
        drained: { full: { least: 0.98, most: 1.02 }, overload: { least: 0.95, most: 1.02 } },
      },
    }),
  ),
  named(
    'idle',
    'CPU and memory of `npm start` without any request',
    embedded,
    idleBenchmark({
      settle: scaled(60), // V8 collects garbage once more when a process has been idle for half a minute
      measured: scaled(40),
      cpuPercent: { most: 1 },
      memoryMegabytes: { most: 450 },
    }),
  ),
];

const backlogBenchmark = (scaled: Scaled, backlog: number, responses?: Target): NamedBenchmark =>
  named(
    `backlog-${backlog}`,
    `responses while a consumer is away and ${backlog} orders wait for it, and how fast it catches up`,
    separate,
    awayBenchmark({
      backlog: scaled(backlog),
      steady: { perSecond: 200, warmUp: scaled(5), measured: scaled(20) },
      sustained: { warmUp: scaled(10), measured: scaled(20) },
      responses,
      catchUp: { least: 1 },
      memoryMegabytes: { most: 400 },
    }),
  );

const longBenchmarks = (scaled: Scaled): NamedBenchmark[] => [
  named(
    'endurance',
    '200 orders/s for ten minutes',
    embedded,
    steadyBenchmark({
      perSecond: 200,
      warmUp: 0,
      measured: scaled(600),
      endurance: {
        p50: { most: 1.2 },
        memory: { most: 1.1 },
        kilobytesPerOrder: { most: 2 },
        walMegabytes: { most: 128 },
      },
    }),
  ),
  backlogBenchmark(scaled, 50_000, { most: 1.5 }),
  // Without a target for the responses: the other consumers still process the burst that builds this backlog.
  backlogBenchmark(scaled, 500_000),
  named(
    'stored',
    'orders at full load with 1,000,000 stored ones, against 10,000',
    separate,
    storedBenchmark({
      few: scaled(10) * MODELS,
      many: scaled(1_000) * MODELS,
      sustained: { warmUp: scaled(15), measured: scaled(30) },
      ratio: { least: 0.85 },
    }),
  ),
  ...(
    [
      ['consumers', '1, 2 and 4 processes of each consumer'],
      ['gateways', '1, 2 and 4 gateways'],
    ] as const
  ).map(([kind, about]) =>
    named(
      kind,
      about,
      separate,
      scaleBenchmark(kind, { counts: [1, 2, 4], durations: { warmUp: scaled(8), measured: scaled(15) } }),
    ),
  ),
];

/** `scale`: a share of all durations and sizes, to try a benchmark; its figures then mean little. */
export function benchmarksOf(scale: number): {
  readonly short: readonly NamedBenchmark[];
  readonly long: readonly NamedBenchmark[];
} {
  const scaled = (value: number) => Math.max(1, Math.round(value * scale));
  return { short: shortBenchmarks(scaled), long: longBenchmarks(scaled) };
}
