// The figures of the floods: decisions and admissions against the bare route, the drain's rate, latencies.
import { type Figure, figure, inPhase, type RouteFloods, routeRate, routeRateFigure, type Target } from '../figures.ts';
import { type Flooded, rateOf } from '../flood.ts';
import { ADMITTED, BUSY, FULL, OVER } from '../load.ts';
import type { Mode } from '../system.ts';
import type { checkSale } from './stored-sale.ts';

/** Tickets that leave a queue per second, in every sale. */
export const DRAIN_PER_SECOND = 100;

export const phases = ['full', 'sold out', 'overload', 'unbounded'] as const;
export type FloodPhase = (typeof phases)[number];

/** `byRow`: the share of the decisions that the sale's row made, not the snapshot in front of it. */
export type FloodedSale = Flooded & { readonly byRow: number };
export type Floods = Readonly<Record<FloodPhase, FloodedSale & Awaited<ReturnType<typeof checkSale>>>>;

export interface FloodTargets {
  /** While the queue is full, and when the sale is sold out. As shares of the bare route's rate. */
  readonly decisions: Readonly<Record<Mode, Target>>;
  /** Tickets that leave the queue, against the configured rate. */
  readonly drained: Readonly<Partial<Record<FloodPhase, Target>>>;
}

interface Reported {
  readonly mode: Mode;
  readonly route: RouteFloods;
  readonly floods: Floods;
  readonly targets: FloodTargets;
}

/** p50 and p99 of the responses with a status, if there are any. */
const latencies = (name: string, status: number, floods: readonly Flooded[]): Figure[] =>
  (['p50', 'p99'] as const).map((percentile) => ({
    name: `${name}, ${percentile}`,
    unit: 'ms',
    values: floods.flatMap(({ latency }) => latency[status]?.[percentile] ?? []),
  }));

export const figuresOf = (reported: Reported): Figure[] => [
  routeRateFigure('bare Express route, purchases', reported.route),
  ...latencies('responses of the bare route', FULL, reported.route),
  ...phases.flatMap((phase) => inPhase(phase, floodFigures(phase, reported))),
];

function floodFigures(phase: FloodPhase, { mode, route, floods, targets }: Reported): Figure[] {
  const flood = floods[phase];
  const decisions = rateOf(flood, ADMITTED, OVER, FULL);
  const [full, soldOut] = [phase === 'full', phase === 'sold out'];
  // With room for everybody, every decision is an admission.
  const name = phase === 'unbounded' ? 'admitted' : 'decisions';
  return [
    figure(name, '/s', decisions),
    figure(
      `${name} ÷ route`,
      'ratio',
      decisions / routeRate(route),
      full || soldOut ? targets.decisions[mode] : undefined,
    ),
    figure('503', '/s', rateOf(flood, BUSY)),
    // A sold-out sale has nothing left to drain.
    figure(
      'drained ÷ rate',
      'ratio',
      soldOut ? undefined : flood.drainedPerSecond / DRAIN_PER_SECOND,
      targets.drained[phase],
    ),
    figure('by the row ÷ decisions', 'ratio', flood.byRow),
    ...latencies('rejected', soldOut ? OVER : FULL, [flood]),
    ...latencies('admitted', ADMITTED, [flood]),
    ...latencies('503', BUSY, [flood]),
  ];
}
