// The benchmark of orders: the rates at which the system completes and accepts them, against a bare route that echoes
// them and a bare AMQP loop.
import { serviceNames } from '../contracts/services.ts';
import { measureAmqpLoop } from './child-processes.ts';
import { type FigureSpec, figuresOf, type Round, routeRate, routeRateFigure } from './figures.ts';
import type { Durations } from './flood.ts';
import { ordersTo } from './load.ts';
import { type Burst, measureBurst, measureSustained, type Sustained } from './measure.ts';
import type { Benchmark } from './run.ts';
import { assertComplete, readTotals, type StoredTotals } from './stored-totals.ts';

interface Plan {
  readonly route: Durations;
  readonly sustained: Durations;
  readonly amqpLoop: Durations;
  readonly burstOrders: number;
}

interface OrderPhases {
  readonly sustained: Sustained;
  readonly burst: Burst;
  readonly stored: StoredTotals;
  /** Orders per second of the bare AMQP loop, on the same broker. Undefined without a broker. */
  readonly amqpLoop: number | undefined;
}

/** As shares of the bare route's rate in the same round. */
const COMPLETED = { embedded: { least: 0.12 }, separate: { least: 0.2 } };
const ACCEPTED = { embedded: { least: 0.25 }, separate: { least: 0.4 } };
/** The share of the sustained rate at which orders are completed during a burst. */
const BURST_COMPLETION = { least: 0.5 };
const MAX_DRIFT = 1.15;
const MAX_BACKLOG_GROWTH = 0.05;

/** `seconds`: how long the load is sustained. `short`: one short round. */
export function orderBenchmark(options: { rounds: number; seconds: number; short: boolean }): Benchmark<OrderPhases> {
  const plan: Plan = options.short
    ? {
        route: { warmUp: 2, measured: 3 },
        sustained: { warmUp: 5, measured: 8 },
        amqpLoop: { warmUp: 2, measured: 4 },
        burstOrders: 2_000,
      }
    : {
        route: { warmUp: 3, measured: 8 },
        sustained: { warmUp: 15, measured: options.seconds },
        amqpLoop: { warmUp: 4, measured: 10 },
        burstOrders: 10_000,
      };
  return {
    rounds: options.short ? 1 : options.rounds,
    route: 'order',
    routeWork: ordersTo,
    routeDurations: plan.route,
    redis: false,
    phases: ['sustained', 'burst'],
    profiled: (mode) => (mode === 'embedded' ? ['all'] : serviceNames),
    async measure(load, system) {
      const sustained = await measureSustained(load, system, plan.sustained);
      const burst = await measureBurst(load, system, plan.burstOrders);
      const stored = await system.stopServices(readTotals);
      assertComplete(stored, sustained.accepted + burst.orders);
      const { warmUp, measured } = plan.amqpLoop;
      const amqpLoop = system.amqpUrl ? await measureAmqpLoop(system.amqpUrl, warmUp, measured) : undefined;
      return { sustained, burst, stored, amqpLoop };
    },
    windowOf: ({ sustained, burst }, phase) => (phase === 'burst' ? burst : sustained).window,
    routeFigures: [routeRateFigure('bare Express route, orders answered')],
    figures,
    checks,
    minHeadroom: 3,
    generatorCpu: ({ route, sustained, burst }) => [...route, sustained, burst].map(({ generatorCpu }) => generatorCpu),
    settings: ({ stored }) => stored.settings,
    cpu: ({ sustained }) => sustained.cpu,
    cpuDuring: 'while the load is sustained',
  };
}

type OrderRound = Round<OrderPhases>;

const completedOf = ({ sustained }: OrderRound) => sustained.completedPerSecond;
const acceptedOf = ({ burst }: OrderRound) => burst.acceptedPerSecond;

const sustained = figuresOf<OrderPhases>('sustained');
const burst = figuresOf<OrderPhases>('burst');

const figures: readonly FigureSpec<OrderPhases>[] = [
  sustained('completed', '/s', completedOf),
  sustained('completed ÷ route', 'ratio', (round) => completedOf(round) / routeRate(round), COMPLETED),
  burst('accepted', '/s', acceptedOf),
  burst('accepted ÷ route', 'ratio', (round) => acceptedOf(round) / routeRate(round), ACCEPTED),
  burst(
    'completed meanwhile ÷ sustained',
    'ratio',
    (round) => round.burst.completedPerSecond / completedOf(round),
    BURST_COMPLETION,
  ),
  burst('until all are completed', 's', (round) => round.burst.completedAfterSeconds),
  sustained('bare amqplib loop, completed', '/s', ({ amqpLoop }) => amqpLoop),
  sustained('completed ÷ bare amqplib loop', 'ratio', (round) => round.amqpLoop && completedOf(round) / round.amqpLoop),
];

function checks(rounds: readonly OrderRound[]) {
  const worst = (value: (round: OrderRound) => number) => Math.max(...rounds.map(value));
  // A rate that grows is as unsteady as one that falls.
  const drift = worst(({ sustained }) => Math.max(sustained.drift, 1 / sustained.drift));
  const growth = worst(({ sustained }) => sustained.backlogGrowth / completedInWindow(sustained));
  const resent = worst(({ stored }) => stored.counts.resends ?? Number.NaN);
  return [
    { name: 'last third ÷ first third of the sustained load', value: drift, ok: drift <= MAX_DRIFT },
    { name: 'growth of the backlog, share of the completed orders', value: growth, ok: growth <= MAX_BACKLOG_GROWTH },
    { name: 'orders whose request was resent', value: resent, ok: resent === 0 },
  ];
}

const completedInWindow = ({ completedPerSecond, window: [from, to] }: Sustained) =>
  (completedPerSecond * (to - from)) / 1_000_000;
