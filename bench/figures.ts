// What every benchmark reports: medians and spreads over its rounds, the reaches they are held to, and checks of whether
// the measurement itself can be trusted.
import { cpus } from 'node:os';
import { median } from '../demos/shared/statistics.ts';
import { groupBy } from '../infra/runtime/group-by.ts';
import type { Mode } from './system.ts';

export type Unit = '/s' | 's' | 'ms' | 'ratio';

/** What a median is to reach; `most` where more would be as wrong. */
export interface Reach {
  readonly least: number;
  readonly most?: number;
}

export interface Figure {
  /** Left out: of the bare route, which all modes share. */
  readonly mode?: Mode;
  readonly phase?: string;
  readonly name: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly unit: Unit;
  readonly reach?: Reach;
  readonly met?: boolean;
}

export interface Check {
  readonly name: string;
  readonly value: number;
  readonly ok: boolean;
}

export interface BenchmarkReport<Round> {
  readonly environment: Readonly<Record<string, string | number>>;
  readonly figures: readonly Figure[];
  readonly checks: readonly Check[];
  /** Durability as the databases themselves say it, by mode. */
  readonly durability: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Shares of one CPU by process under the main load, by mode; of the last round. */
  readonly cpu: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly rounds: readonly Round[];
}

/** A generator that is nearer to one whole CPU than this is what limits the rate. */
const MAX_GENERATOR_CPU = 0.8;
/** Settings of a database without which an answer promises less. */
const durable = ['fsync', 'synchronous_commit', 'full_page_writes'];

export const environment = (rounds: number): BenchmarkReport<unknown>['environment'] => ({
  node: process.version,
  platform: `${process.platform} ${process.arch}`,
  cpus: cpus().length,
  cpu: cpus()[0]?.model ?? 'unknown',
  rounds,
});

export function figure(name: string, unit: Unit, values: readonly number[], reach?: Reach): Figure {
  const middle = median(values);
  const spread = { median: middle, min: Math.min(...values), max: Math.max(...values) };
  if (!reach) return { name, unit, ...spread };
  return {
    name,
    unit,
    ...spread,
    reach,
    met: middle >= reach.least && middle <= (reach.most ?? Number.POSITIVE_INFINITY),
  };
}

/** The rounds of each mode. */
export function byMode<Round extends { readonly mode: Mode }>(rounds: readonly Round[]) {
  const groups = groupBy(rounds, ({ mode }) => mode);
  return {
    modes: [...groups],
    /** Of the last round of each mode. */
    lastOf: <T>(pick: (round: Round) => T): Record<string, T> =>
      Object.fromEntries([...groups].map(([mode, of]) => [mode, pick(of.at(-1) as Round)])),
  };
}

/** What the generator gets out of a bare node:http server must be so many times what the bare route answers. */
export const headroomCheck = (value: number, least: number): Check => ({
  name: 'bare node:http ÷ bare Express route',
  value,
  ok: value >= least,
});

/** `share`: the most that the load generator used of one CPU. */
export const generatorCheck = (share: number): Check => ({
  name: 'load generator, share of one CPU',
  value: share,
  ok: share <= MAX_GENERATOR_CPU,
});

export function durabilityCheck(settings: readonly Readonly<Record<string, string>>[]): Check {
  const weakened = Math.max(...settings.map((values) => durable.filter((name) => values[name] !== 'on').length));
  return { name: `of ${durable.join(', ')}: not on`, value: weakened, ok: weakened === 0 };
}

/** What a mode did not reach. */
export const missedPhases = ({ figures }: BenchmarkReport<unknown>, mode: Mode): string[] => [
  ...new Set(figures.flatMap((figure) => (figure.met === false && figure.mode === mode ? (figure.phase ?? []) : []))),
];
