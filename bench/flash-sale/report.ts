// The report of the floods: decisions and admissions against the bare route, the drain's pace, latencies.
import {
  type FigureSpec,
  figuresOf,
  type ReportSpec,
  type Round,
  routeRate,
  routeRateFigure,
  type Target,
} from '../figures.ts';
import type { Flooded } from '../flood.ts';
import { rateOf } from '../interval.ts';
import { BROKEN } from '../raw-http.ts';
import type { Mode } from '../system.ts';
import { ADMITTED, BUSY, FULL, OVER, PACE } from './purchases.ts';
import type { StoredSale } from './stored-sale.ts';

export const phases = ['full', 'sold out', 'overload', 'unbounded'] as const;
export type FloodPhase = (typeof phases)[number];

export interface FloodedSale extends Flooded {
  /** Share of the decisions that the sale's row made, not the hint in front of it. */
  readonly byRow: number;
  /** The measured time in milliseconds of this machine's clock, which its databases use too. */
  readonly time: readonly [number, number];
}

export interface FloodedSales {
  readonly floods: Readonly<Record<FloodPhase, FloodedSale & StoredSale>>;
  readonly settings: Readonly<Record<string, string>>;
}

export const decidingProcess = (mode: Mode) => (mode === 'embedded' ? 'all' : 'flash-sale');

/** As shares of the bare route's rate. */
const DECISIONS = { embedded: { least: 0.5 }, separate: { least: 0.7 } };
/** Tickets that leave the queue, against the configured pace. */
const DRAIN: Target = { least: 0.98, most: 1.02 };

type SaleRound = Round<FloodedSales>;
type FloodOfSale = FloodedSales['floods'][FloodPhase];
type Value = (flood: FloodOfSale, round: SaleRound) => number;
type Spec = FigureSpec<FloodedSales>;

const decisionsOf: Value = (flood) => rateOf(flood, ADMITTED, OVER, FULL);
const decisionsToRoute: Value = (flood, round) => decisionsOf(flood, round) / routeRate(round);
const drained: Value = ({ drainedPerSecond }) => drainedPerSecond / PACE;
const busyShare: Value = (flood, round) => rateOf(flood, BUSY) / (rateOf(flood, BUSY) + decisionsOf(flood, round));
const byRow: Value = (flood) => flood.byRow;
/** CPU time of the deciding process per decision, against that of the bare route per request. */
const cost: Value = (flood, round) => {
  const { mode, route } = round;
  const routeCpu = route.reduce((sum, { cpu }) => sum + (cpu.route ?? Number.NaN), 0);
  const routeCost = routeCpu / route.reduce((sum, flooded) => sum + rateOf(flooded, FULL), 0);
  return (flood.cpu[decidingProcess(mode)] ?? Number.NaN) / decisionsOf(flood, round) / routeCost;
};

/** p50 and p99 of the responses with a status, if there are any. */
const latencies = (name: string, status: number, floodsOf: (round: SaleRound) => readonly Flooded[]): Spec[] =>
  (['p50', 'p99'] as const).map((percentile) => ({
    name: `${name}, ${percentile}`,
    unit: 'ms',
    values: (round) => floodsOf(round).flatMap(({ latency }) => latency[status]?.[percentile] ?? []),
  }));

function of(phase: FloodPhase) {
  const figure = figuresOf<FloodedSales>(phase);
  return {
    figure: (name: string, unit: Spec['unit'], value: Value, target?: Spec['target']) =>
      figure(name, unit, (round) => value(round.floods[phase], round), target),
    latency: (name: string, status: number) =>
      latencies(name, status, ({ floods }) => [floods[phase]]).map((spec) => ({ phase, ...spec })),
  };
}

const [full, soldOut, overload, unbounded] = [of('full'), of('sold out'), of('overload'), of('unbounded')];
const COST = 'CPU per decision ÷ per request of the route';

const figures: readonly Spec[] = [
  full.figure('decisions', '/s', decisionsOf),
  full.figure('decisions ÷ route', 'ratio', decisionsToRoute, DECISIONS),
  full.figure(COST, 'ratio', cost),
  full.figure('drained ÷ pace', 'ratio', drained, DRAIN),
  full.figure('by the row ÷ decisions', 'ratio', byRow),
  full.figure('503 ÷ responses', 'ratio', busyShare),
  ...full.latency('rejected', FULL),
  ...full.latency('admitted', ADMITTED),
  soldOut.figure('decisions', '/s', decisionsOf),
  soldOut.figure('decisions ÷ route', 'ratio', decisionsToRoute, DECISIONS),
  soldOut.figure(COST, 'ratio', cost),
  soldOut.figure('by the row ÷ decisions', 'ratio', byRow),
  ...soldOut.latency('rejected', OVER),
  overload.figure('decisions', '/s', decisionsOf),
  overload.figure('decisions ÷ route', 'ratio', decisionsToRoute),
  overload.figure('503', '/s', (flood) => rateOf(flood, BUSY)),
  overload.figure('503 ÷ responses', 'ratio', busyShare),
  overload.figure('connections that broke', '/s', (flood) => rateOf(flood, BROKEN)),
  overload.figure('drained ÷ pace', 'ratio', drained),
  overload.figure('load generator, share of one CPU', 'ratio', ({ generatorCpu }) => generatorCpu),
  ...overload.latency('rejected', FULL),
  ...overload.latency('admitted', ADMITTED),
  ...overload.latency('503', BUSY),
  unbounded.figure('admitted', '/s', (flood) => rateOf(flood, ADMITTED)),
  unbounded.figure('admitted ÷ route', 'ratio', (flood, round) => rateOf(flood, ADMITTED) / routeRate(round)),
  unbounded.figure(COST, 'ratio', cost),
  unbounded.figure('drained ÷ pace', 'ratio', drained),
  ...unbounded.latency('admitted', ADMITTED),
];

/** The floods that ratios depend on. Under overload the generator may be the limit. */
const comparedFloods = ({ route, floods }: SaleRound): readonly Flooded[] => [
  ...route,
  ...[floods.full, floods['sold out'], floods.unbounded],
];

function checks(rounds: readonly SaleRound[]) {
  const broken = rounds.flatMap(comparedFloods).reduce((sum, { responses }) => sum + (responses[BROKEN] ?? 0), 0);
  const uncounted = Math.max(...rounds.flatMap(({ floods }) => Object.values(floods).map((flood) => flood.uncounted)));
  return [
    { name: 'connections that broke, except under overload', value: broken, ok: broken === 0 },
    { name: 'rejections that the sale did not count', value: uncounted, ok: uncounted === 0 },
  ];
}

export const reportSpec: Omit<ReportSpec<FloodedSales>, 'windowOf'> = {
  routeFigures: [
    routeRateFigure('bare Express route, purchases answered'),
    ...latencies('answered by the bare route', FULL, ({ route }) => route),
  ],
  figures,
  checks,
  minHeadroom: 1.5,
  generatorCpu: (round) => comparedFloods(round).map(({ generatorCpu }) => generatorCpu),
  settings: ({ settings }) => settings,
  cpu: ({ floods }) => floods.full.cpu,
  cpuDuring: 'while the queue is full',
};
