// The figures of the floods: decisions and admissions against the bare route, the drain's pace, latencies.
import { type Measurement, type RouteFloods, routeRate, routeRateFigure, type Target, type Unit } from '../figures.ts';
import { type Flooded, rateOf } from '../flood.ts';
import { ADMITTED, BUSY, FULL, OVER } from '../load.ts';
import { BROKEN } from '../raw-http.ts';
import type { Mode } from '../system.ts';

/** Tickets that leave a queue per second, in every sale. */
export const PACE = 100;

/** The figures that each phase has, in this order. */
const shown = {
  full: ['decisions', 'ratio', 'cost', 'drained', 'byRow', 'busyShare', 'rejected', 'admitted'],
  'sold out': ['decisions', 'ratio', 'cost', 'byRow', 'rejected'],
  overload: [
    'decisions',
    'ratio',
    'busy',
    'busyShare',
    'broken',
    'drained',
    'generator',
    'rejected',
    'admitted',
    'busyLatency',
  ],
  unbounded: ['admissions', 'admissionRatio', 'cost', 'drained', 'admitted'],
} as const;
export type FloodPhase = keyof typeof shown;
export const phases = Object.keys(shown) as FloodPhase[];

export interface FloodedSale extends Flooded {
  /** Share of the decisions that the sale's row made, not the hint in front of it. */
  readonly byRow: number;
  /** The measured time in milliseconds of this machine's clock, which its databases use too. */
  readonly time: readonly [number, number];
}

export interface StoredSale {
  /** Tickets that left the queue per second in the measured time. */
  readonly drainedPerSecond: number;
  /** Rejections that the sale did not count. It counts them best-effort: 0 unless a process crashed. */
  readonly uncounted: number;
}

export type Floods = Readonly<Record<FloodPhase, FloodedSale & StoredSale>>;

export const decidingProcess = (mode: Mode) => (mode === 'embedded' ? 'all' : 'flash-sale');

/** As shares of the bare route's rate. */
const DECISIONS = { embedded: { least: 0.5 }, separate: { least: 0.7 } };
/** Tickets that leave the queue, against the configured pace. */
const DRAIN = { least: 0.98, most: 1.02 };

/** p50 and p99 of the responses with a status, if there are any. */
const latencies = (name: string, status: number, floods: readonly Flooded[]): Measurement[] =>
  (['p50', 'p99'] as const).map((percentile) => ({
    name: `${name}, ${percentile}`,
    unit: 'ms',
    values: floods.flatMap(({ latency }) => latency[status]?.[percentile] ?? []),
  }));

export const figuresOf = (mode: Mode, route: RouteFloods, floods: Floods): Measurement[] => [
  routeRateFigure('bare Express route, purchases answered', route),
  ...latencies('answered by the bare route', FULL, route),
  ...phases.flatMap((phase) => {
    const figures = floodFigures(mode, route, phase, floods[phase]);
    return shown[phase].flatMap((name) => figures[name]).map((figure) => ({ phase, ...figure }));
  }),
];

function floodFigures(mode: Mode, route: RouteFloods, phase: FloodPhase, flood: Floods[FloodPhase]) {
  const decisions = rateOf(flood, ADMITTED, OVER, FULL);
  const [admissions, busy] = [rateOf(flood, ADMITTED), rateOf(flood, BUSY)];
  const sum = (value: (flooded: Flooded) => number) => value(route[0]) + value(route[1]);
  const routeCost = sum(({ cpu }) => cpu.route ?? Number.NaN) / sum((flooded) => rateOf(flooded, FULL));
  const cost = (flood.cpu[decidingProcess(mode)] ?? Number.NaN) / decisions / routeCost;
  const figure = (name: string, unit: Unit, value: number, target?: Target): Measurement => ({
    ...{ name, unit, values: [value], target },
  });
  return {
    decisions: figure('decisions', '/s', decisions),
    ratio: figure(
      'decisions ÷ route',
      'ratio',
      decisions / routeRate(route),
      phase === 'overload' ? undefined : DECISIONS[mode],
    ),
    cost: figure('CPU per decision ÷ per request of the route', 'ratio', cost),
    drained: figure('drained ÷ pace', 'ratio', flood.drainedPerSecond / PACE, phase === 'full' ? DRAIN : undefined),
    byRow: figure('by the row ÷ decisions', 'ratio', flood.byRow),
    busy: figure('503', '/s', busy),
    busyShare: figure('503 ÷ responses', 'ratio', busy / (busy + decisions)),
    broken: figure('connections that broke', '/s', rateOf(flood, BROKEN)),
    generator: figure('load generator, share of one CPU', 'ratio', flood.generatorCpu),
    admissions: figure('admitted', '/s', admissions),
    admissionRatio: figure('admitted ÷ route', 'ratio', admissions / routeRate(route)),
    rejected: latencies('rejected', phase === 'sold out' ? OVER : FULL, [flood]),
    admitted: latencies('admitted', ADMITTED, [flood]),
    busyLatency: latencies('503', BUSY, [flood]),
  };
}
