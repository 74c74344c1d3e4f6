// What the benchmark found: medians and spreads over the rounds, the reaches they are held to, and whether the
// measurement itself can be trusted.
import { cpus } from 'node:os';
import type { Sustained } from './measure.ts';
import type { Phase, Round } from './round.ts';
import type { Mode } from './system.ts';

/** The least that is to be reached, as shares of the bare route's rate in the same round. */
const REACHES: Readonly<Record<Mode, { readonly completed: number; readonly accepted: number }>> = {
  embedded: { completed: 0.12, accepted: 0.25 },
  separate: { completed: 0.2, accepted: 0.4 },
};
/** During a burst, the least share of the sustained rate at which orders go on being completed. */
const BURST_COMPLETION = 0.5;

/** A generator that is nearer to one whole CPU than this is what limits the rate. */
const MAX_GENERATOR_CPU = 0.8;
/** It must be able to send this many times faster than the bare route answers. */
const MIN_HEADROOM = 3;
const MAX_DRIFT = 1.15;
const MAX_BACKLOG_GROWTH = 0.05;
/** Settings of a database without which an answer promises less. */
const durable = ['fsync', 'synchronous_commit', 'full_page_writes'];

export interface Figure {
  /** Left out: of the bare route, which both share. */
  readonly mode?: Mode;
  readonly phase?: Phase;
  readonly name: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly unit: '/s' | 's' | 'ratio';
  readonly reach?: number;
  readonly met?: boolean;
}

export interface Check {
  readonly name: string;
  readonly value: number;
  readonly ok: boolean;
}

export interface Report {
  readonly environment: Readonly<Record<string, string | number>>;
  readonly figures: readonly Figure[];
  readonly checks: readonly Check[];
  /** Durability as the databases themselves say it, by mode. */
  readonly durability: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Shares of one CPU by process while the load is sustained, by mode; of the last round. */
  readonly cpu: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly rounds: readonly Round[];
}

/** `echoPerSecond`: what the generator gets out of a bare node:http server. */
export function createReport(rounds: readonly Round[], echoPerSecond: number): Report {
  const modes = [...new Set(rounds.map(({ mode }) => mode))];
  const ofMode = (mode: Mode) => rounds.filter((round) => round.mode === mode);
  const lastOf = <T>(pick: (round: Round) => T) =>
    Object.fromEntries(modes.map((mode) => [mode, pick(ofMode(mode).at(-1) as Round)]));
  const route = figure(
    'bare Express route, orders answered',
    '/s',
    rounds.flatMap(({ route }) => route),
  );
  return {
    environment: {
      node: process.version,
      platform: `${process.platform} ${process.arch}`,
      cpus: cpus().length,
      cpu: cpus()[0]?.model ?? 'unknown',
      rounds: rounds.length / modes.length,
    },
    figures: [route, ...modes.flatMap((mode) => figuresOf(mode, ofMode(mode)))],
    checks: checksOf(rounds, echoPerSecond / route.median),
    durability: lastOf(({ audit }) => audit.settings),
    cpu: lastOf(({ sustained }) => sustained.cpu),
    rounds,
  };
}

const routeOf = ({ route }: Round) => (route[0] + route[1]) / 2;

function figuresOf(mode: Mode, rounds: readonly Round[]): Figure[] {
  const reach = REACHES[mode];
  const of = (phase: Phase, name: string, unit: Figure['unit'], value: (round: Round) => number, least?: number) => ({
    mode,
    phase,
    ...figure(name, unit, rounds.map(value), least),
  });
  const sustainedOf = ({ sustained }: Round) => sustained.completedPerSecond;
  const acceptedOf = ({ burst }: Round) => burst.acceptedPerSecond;
  const figures = [
    of('sustained', 'completed', '/s', sustainedOf),
    of('sustained', 'completed ÷ route', 'ratio', (round) => sustainedOf(round) / routeOf(round), reach.completed),
    of('burst', 'accepted', '/s', acceptedOf),
    of('burst', 'accepted ÷ route', 'ratio', (round) => acceptedOf(round) / routeOf(round), reach.accepted),
    of(
      'burst',
      'completed meanwhile ÷ sustained',
      'ratio',
      (round) => round.burst.completedPerSecond / sustainedOf(round),
      BURST_COMPLETION,
    ),
    of('burst', 'until all are completed', 's', ({ burst }) => burst.completedAfterSeconds),
  ];
  if (rounds.every(({ amqpLoop }) => amqpLoop !== undefined)) {
    const loopOf = ({ amqpLoop }: Round) => amqpLoop ?? Number.NaN;
    figures.push(
      of('sustained', 'bare amqplib loop, completed', '/s', loopOf),
      of('sustained', 'completed ÷ bare amqplib loop', 'ratio', (round) => sustainedOf(round) / loopOf(round)),
    );
  }
  return figures;
}

function figure(name: string, unit: Figure['unit'], values: readonly number[], reach?: number): Figure {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]].map(Number);
  const median = middle.reduce((sum, value) => sum + value, 0) / 2;
  const spread = { median, min: Math.min(...sorted), max: Math.max(...sorted) };
  return { name, unit, ...spread, ...(reach === undefined ? {} : { reach, met: median >= reach }) };
}

function checksOf(rounds: readonly Round[], headroom: number): Check[] {
  const worst = (value: (round: Round) => number) => Math.max(...rounds.map(value));
  const generatorCpu = worst((round) => round.generatorCpu);
  // Faster towards the end is as little steady as slower.
  const drift = worst(({ sustained }) => Math.max(sustained.drift, 1 / sustained.drift));
  const growth = worst(({ sustained }) => sustained.backlogGrowth / completedInWindow(sustained));
  const asked = worst(({ audit }) => audit.asked);
  const weakened = worst(({ audit }) => durable.filter((name) => audit.settings[name] !== 'on').length);
  return [
    { name: 'load generator, share of one CPU', value: generatorCpu, ok: generatorCpu <= MAX_GENERATOR_CPU },
    { name: 'bare node:http ÷ bare Express route', value: headroom, ok: headroom >= MIN_HEADROOM },
    { name: 'last third ÷ first third of the sustained load', value: drift, ok: drift <= MAX_DRIFT },
    { name: 'growth of the backlog, share of what was completed', value: growth, ok: growth <= MAX_BACKLOG_GROWTH },
    { name: 'orders that had to be asked for again', value: asked, ok: asked === 0 },
    { name: `of ${durable.join(', ')}: not on`, value: weakened, ok: weakened === 0 },
  ];
}

const completedInWindow = ({ completedPerSecond, window: [from, to] }: Sustained) =>
  (completedPerSecond * (to - from)) / 1_000_000;

/** What a mode did not reach. */
export const missedPhases = ({ figures }: Report, mode: Mode): Phase[] => [
  ...new Set(figures.flatMap((figure) => (figure.met === false && figure.mode === mode ? (figure.phase ?? []) : []))),
];
