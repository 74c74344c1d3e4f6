// The report of a benchmark: medians and spreads over its rounds, the targets for them, and checks of whether the
// measurement itself can be trusted.
import { cpus } from 'node:os';
import { mean, median, sum } from '../demos/shared/statistics.ts';
import { groupBy } from '../infra/runtime/collections.ts';
import type { Curve } from './curve.ts';
import type { Flooded } from './flood.ts';
import type { Mode } from './system.ts';

export type Unit = '/s' | 's' | 'ms' | 'ratio' | 'MB' | 'kB' | '%';

/** The range that a median should be in. */
export interface Target {
  readonly least?: number;
  readonly most?: number;
}

/** A figure of one round. A figure without values is left out. */
export interface Figure {
  /** Undefined for the bare route, which all modes share. */
  readonly phase?: string;
  readonly name: string;
  readonly unit: Unit;
  readonly values: readonly number[];
  readonly target?: Target | undefined;
}

/** The bare route, flooded before and after the system was measured. Empty if the benchmark has no bare route. */
export type RouteFloods = readonly Flooded[];

/** The measurement of one system. */
export interface Measured {
  readonly figures: (route: RouteFloods) => readonly Figure[];
  /** Each value must be at most `most`; the worst round counts. */
  readonly checks: readonly { name: string; value: number; most: number }[];
  /** The database's durability, as the database reports it. */
  readonly settings: Readonly<Record<string, string>>;
  /** Shares of one CPU by process, in the first phase. */
  readonly cpu: Readonly<Record<string, number>>;
  /** Shares of one CPU that the load generator used when it must not have been the limit. */
  readonly generatorCpu: readonly number[];
  /** For the SVG of the last round. */
  readonly curves: readonly Curve[];
  /** All that was measured, for the JSON file. */
  readonly raw: object;
}

export interface Round {
  readonly mode: Mode;
  readonly route: RouteFloods;
  readonly measured: Measured;
}

/** A generator that is closer to one whole CPU than this limits the rate. */
const MAX_GENERATOR_CPU = 0.8;
/** Database settings that must be on for durability. */
const durable = ['fsync', 'synchronous_commit', 'full_page_writes'];

/** The rate of a bare route. */
const responsesPerSecond = ({ perSecond }: Flooded): number => sum(Object.values(perSecond));

/** Requests per second of the bare route in this round. */
export const routeRate = (route: RouteFloods): number => mean(route.map(responsesPerSecond));

/** Milliseconds of CPU that the bare route took for a request. */
export const routeCpuMs = (route: RouteFloods): number =>
  mean(route.map((flooded) => cpuMsPer(responsesPerSecond(flooded), flooded.cpu)));

/** Milliseconds of CPU for each of `perSecond`. `cpu`: shares of one CPU by process. */
export const cpuMsPer = (perSecond: number, cpu: Readonly<Record<string, number>>): number =>
  (sum(Object.values(cpu)) * 1_000) / perSecond;

export const figure = (name: string, unit: Unit, value: number | undefined, target?: Target): Figure => ({
  name,
  unit,
  target,
  values: value === undefined ? [] : [value],
});

export const inPhase = (phase: string, figures: readonly Figure[]): Figure[] =>
  figures.map((each) => ({ phase, ...each }));

export const routeRateFigure = (name: string, route: RouteFloods): Figure => ({
  name,
  unit: '/s',
  values: route.map(responsesPerSecond),
});

export type BenchmarkReport = ReturnType<typeof createReport>;

/** `bareHttp`: the flood of a bare node:http server, which must be `minHeadroom` times faster than the bare route. */
export function createReport(rounds: readonly Round[], bareHttp?: { flooded: Flooded; minHeadroom: number }) {
  const lastOf = <T>(pick: (measured: Measured) => T): Record<string, T> =>
    Object.fromEntries(rounds.map(({ mode, measured }) => [mode, pick(measured)]));
  const routeRates = rounds.flatMap(({ route }) => route.map(responsesPerSecond));
  const headroom = bareHttp && responsesPerSecond(bareHttp.flooded) / median(routeRates);
  const checks = rounds.flatMap(({ mode, route, measured }) => [
    ...[...route.map(({ generatorCpu }) => generatorCpu), ...measured.generatorCpu].map((value) => ({
      name: 'load generator, share of one CPU',
      value,
      most: MAX_GENERATOR_CPU,
    })),
    ...measured.checks,
    {
      name: 'durability settings of PostgreSQL that are off',
      // Not checked for PGlite, which never syncs.
      value: mode === 'embedded' ? 0 : durable.filter((name) => measured.settings[name] !== 'on').length,
      most: 0,
    },
  ]);
  return {
    environment: {
      node: process.version,
      platform: `${process.platform} ${process.arch}`,
      cpus: cpus().length,
      cpu: cpus()[0]?.model ?? 'unknown',
      rounds: rounds.length / new Set(rounds.map(({ mode }) => mode)).size,
    },
    figures: figuresOf(rounds),
    checks: [
      ...(bareHttp === undefined || headroom === undefined
        ? []
        : [{ name: 'bare node:http ÷ bare Express route', value: headroom, ok: headroom >= bareHttp.minHeadroom }]),
      ...Array.from(
        groupBy(checks, ({ name }) => name),
        ([name, all]) => {
          const value = Math.max(...all.map((check) => check.value));
          return { name, value, ok: all.every(({ most }) => value <= most) };
        },
      ),
    ],
    /** The values of the last round, by mode; so is `cpu`. */
    durability: lastOf(({ settings }) => settings),
    cpu: lastOf(({ cpu }) => cpu),
    rounds: rounds.map(({ mode, route, measured }) => ({ mode, route, ...measured.raw })),
  };
}

/** Each figure once, with the values of all rounds, in the order in which the rounds name them. */
function figuresOf(rounds: readonly Round[]) {
  const merged = new Map<string, Figure & { mode: Mode | undefined }>();
  for (const { mode: measuredMode, route, measured } of rounds)
    for (const each of measured.figures(route)) {
      const mode = each.phase ? measuredMode : undefined;
      const key = [mode, each.phase, each.name].join();
      merged.set(key, { ...each, mode, values: [...(merged.get(key)?.values ?? []), ...each.values] });
    }
  return Array.from(merged.values())
    .filter(({ values }) => values.length > 0)
    .map(({ mode, phase, name, unit, values, target }) => {
      const middle = median(values);
      const { least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY } = target ?? {};
      const met = target && middle >= least && middle <= most;
      return {
        mode,
        phase,
        name,
        median: middle,
        min: Math.min(...values),
        max: Math.max(...values),
        unit,
        target,
        met,
      };
    });
}
