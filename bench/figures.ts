// The report of a benchmark: medians and spreads over its rounds, the targets for them, and checks of whether the
// measurement itself can be trusted.
import { cpus } from 'node:os';
import { median } from '../demos/shared/statistics.ts';
import type { Flooded } from './flood.ts';
import type { Window } from './interval.ts';
import { BROKEN } from './raw-http.ts';
import { MODES, type Mode } from './system.ts';

export type Unit = '/s' | 's' | 'ms' | 'ratio';

/** The range that a median should be in. */
export interface Target {
  readonly least: number;
  readonly most?: number;
}

interface Figure {
  /** Undefined for the bare route, which all modes share. */
  readonly mode?: Mode;
  readonly phase?: string;
  readonly name: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly unit: Unit;
  readonly target?: Target;
  readonly met?: boolean;
}

interface Check {
  readonly name: string;
  readonly value: number;
  readonly ok: boolean;
}

/** One round; `route`: floods of the bare route before and after the system was measured. */
export type Round<Measured> = Measured & { readonly mode: Mode; readonly route: readonly [Flooded, Flooded] };

export interface FigureSpec<Measured> {
  readonly phase?: string;
  readonly name: string;
  readonly unit: Unit;
  /** Values of a round. A figure without any value is left out. */
  readonly values: (round: Round<Measured>) => readonly number[];
  /** By mode, or for all modes. */
  readonly target?: Target | Readonly<Record<Mode, Target>>;
}

/** Figures of a phase with one value per round, or none. */
export const figuresOf =
  <Measured>(phase: string) =>
  (
    name: string,
    unit: Unit,
    value: (round: Round<Measured>) => number | undefined,
    target?: FigureSpec<Measured>['target'],
  ): FigureSpec<Measured> => ({
    ...{ phase, name, unit, values: (round) => [value(round) ?? []].flat() },
    ...(target && { target }),
  });

/** How a benchmark's rounds become a report. */
export interface ReportSpec<Measured> {
  readonly routeFigures: readonly FigureSpec<Measured>[];
  readonly figures: readonly FigureSpec<Measured>[];
  /** The checks that only this benchmark has. */
  readonly checks: (rounds: readonly Round<Measured>[]) => readonly Check[];
  /** The load generator must be able to send this many times faster than the bare route responds. */
  readonly minHeadroom: number;
  /** Shares of one CPU that the load generator used when it must not have been the limit. */
  readonly generatorCpu: (round: Round<Measured>) => readonly number[];
  readonly settings: (round: Round<Measured>) => Readonly<Record<string, string>>;
  /** Shares of one CPU by process, under the main load. */
  readonly cpu: (round: Round<Measured>) => Readonly<Record<string, number>>;
  /** The main load, in words. */
  readonly cpuDuring: string;
  readonly windowOf: (measured: Measured, phase: string) => Window;
}

export interface BenchmarkReport {
  readonly environment: Readonly<Record<string, string | number>>;
  readonly figures: readonly Figure[];
  readonly checks: readonly Check[];
  /** Durability as the databases report it, by mode. */
  readonly durability: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** By mode, of the last round. */
  readonly cpu: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly rounds: readonly unknown[];
}

/** A generator that is closer to one whole CPU than this limits the rate. */
const MAX_GENERATOR_CPU = 0.8;
/** Database settings that must be on for durability. */
const durable = ['fsync', 'synchronous_commit', 'full_page_writes'];

const answeredPerSecond = ({ perSecond }: Flooded): number =>
  Object.entries(perSecond).reduce((sum, [status, rate]) => (Number(status) === BROKEN ? sum : sum + rate), 0);

/** Requests per second that the bare route answered in this round. */
export const routeRate = ({ route: [before, after] }: Round<unknown>): number =>
  (answeredPerSecond(before) + answeredPerSecond(after)) / 2;

export const routeRateFigure = (name: string): FigureSpec<unknown> => ({
  name,
  unit: '/s',
  values: ({ route }) => route.map(answeredPerSecond),
});

/** `echo`: the flood of a bare node:http server. */
export function createReport<Measured>(
  spec: ReportSpec<Measured>,
  rounds: readonly Round<Measured>[],
  echo: Flooded,
): BenchmarkReport {
  const modes = MODES.map((mode) => ({ mode, ofMode: rounds.filter((round) => round.mode === mode) })).filter(
    ({ ofMode }) => ofMode.length > 0,
  );
  const lastOf = <T>(pick: (round: Round<Measured>) => T): Record<string, T> =>
    Object.fromEntries(modes.map(({ mode, ofMode }) => [mode, pick(ofMode.at(-1) as Round<Measured>)]));
  const headroom = answeredPerSecond(echo) / median(rounds.flatMap(({ route }) => route.map(answeredPerSecond)));
  const generatorCpu = Math.max(...rounds.flatMap(spec.generatorCpu));
  const weakened = Math.max(...rounds.map((round) => weakSettings(spec.settings(round))));
  return {
    environment: {
      node: process.version,
      platform: `${process.platform} ${process.arch}`,
      cpus: cpus().length,
      cpu: cpus()[0]?.model ?? 'unknown',
      rounds: rounds.length / modes.length,
    },
    figures: [
      ...spec.routeFigures.flatMap((figure) => figureOf(figure, rounds)),
      ...modes.flatMap(({ mode, ofMode }) => spec.figures.flatMap((figure) => figureOf(figure, ofMode, mode))),
    ],
    checks: [
      { name: 'load generator, share of one CPU', value: generatorCpu, ok: generatorCpu <= MAX_GENERATOR_CPU },
      { name: 'bare node:http ÷ bare Express route', value: headroom, ok: headroom >= spec.minHeadroom },
      ...spec.checks(rounds),
      { name: `of ${durable.join(', ')}: not on`, value: weakened, ok: weakened === 0 },
    ],
    durability: lastOf(spec.settings),
    cpu: lastOf(spec.cpu),
    rounds,
  };
}

const weakSettings = (settings: Readonly<Record<string, string>>) =>
  durable.filter((name) => settings[name] !== 'on').length;

function figureOf<Measured>(
  { phase, name, unit, values: valuesOf, target: targets }: FigureSpec<Measured>,
  rounds: readonly Round<Measured>[],
  mode?: Mode,
): Figure[] {
  const values = rounds.flatMap(valuesOf);
  if (values.length === 0) return [];
  const target = targets && 'least' in targets ? targets : mode && targets?.[mode];
  const middle = median(values);
  const met = target && middle >= target.least && middle <= (target.most ?? Number.POSITIVE_INFINITY);
  return [
    {
      ...(mode && { mode }),
      ...(phase && { phase }),
      name,
      ...{ median: middle, min: Math.min(...values), max: Math.max(...values), unit },
      ...(target && { target, met: met === true }),
    },
  ];
}

/** Phases in which a mode missed a target. */
export const missedPhases = ({ figures }: BenchmarkReport, mode: Mode): string[] => [
  ...new Set(figures.flatMap((figure) => (figure.met === false && figure.mode === mode ? (figure.phase ?? []) : []))),
];
