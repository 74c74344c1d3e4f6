// What the benchmark of orders found.
import {
  type BenchmarkReport,
  byMode,
  type Check,
  durabilityCheck,
  environment,
  type Figure,
  figure,
  generatorCheck,
  headroomCheck,
  type Unit,
} from './figures.ts';
import type { Sustained } from './measure.ts';
import type { OrderPhase, Round } from './round.ts';
import type { Mode } from './system.ts';

/** The least that is to be reached, as shares of the bare route's rate in the same round. */
const REACHES: Readonly<Record<Mode, { readonly completed: number; readonly accepted: number }>> = {
  embedded: { completed: 0.12, accepted: 0.25 },
  separate: { completed: 0.2, accepted: 0.4 },
};
/** During a burst, the least share of the sustained rate at which orders go on being completed. */
const BURST_COMPLETION = 0.5;

/** It must be able to send this many times faster than the bare route answers. */
const MIN_HEADROOM = 3;
const MAX_DRIFT = 1.15;
const MAX_BACKLOG_GROWTH = 0.05;

/** `echoPerSecond`: what the generator gets out of a bare node:http server. */
export function createReport(rounds: readonly Round[], echoPerSecond: number): BenchmarkReport<Round> {
  const { modes, lastOf } = byMode(rounds);
  const route = figure(
    'bare Express route, orders answered',
    '/s',
    rounds.flatMap(({ route }) => route),
  );
  return {
    environment: environment(rounds.length / modes.length),
    figures: [route, ...modes.flatMap(([mode, ofMode]) => figuresOf(mode, ofMode))],
    checks: checksOf(rounds, echoPerSecond / route.median),
    durability: lastOf(({ stored }) => stored.settings),
    cpu: lastOf(({ sustained }) => sustained.cpu),
    rounds,
  };
}

const routeOf = ({ route }: Round) => (route[0] + route[1]) / 2;

function figuresOf(mode: Mode, rounds: readonly Round[]): Figure[] {
  const reach = REACHES[mode];
  const of = (phase: OrderPhase, name: string, unit: Unit, value: (round: Round) => number, least?: number) => ({
    mode,
    phase,
    ...figure(name, unit, rounds.map(value), least === undefined ? undefined : { least }),
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

function checksOf(rounds: readonly Round[], headroom: number): Check[] {
  const worst = (value: (round: Round) => number) => Math.max(...rounds.map(value));
  // Faster towards the end is as little steady as slower.
  const drift = worst(({ sustained }) => Math.max(sustained.drift, 1 / sustained.drift));
  const growth = worst(({ sustained }) => sustained.backlogGrowth / completedInWindow(sustained));
  const resends = worst(({ stored }) => stored.resends);
  return [
    generatorCheck(worst(({ generatorCpu }) => generatorCpu)),
    headroomCheck(headroom, MIN_HEADROOM),
    { name: 'last third ÷ first third of the sustained load', value: drift, ok: drift <= MAX_DRIFT },
    { name: 'growth of the backlog, share of what was completed', value: growth, ok: growth <= MAX_BACKLOG_GROWTH },
    { name: 'events of orders that were resent', value: resends, ok: resends === 0 },
    durabilityCheck(rounds.map(({ stored }) => stored.settings)),
  ];
}

const completedInWindow = ({ completedPerSecond, window: [from, to] }: Sustained) =>
  (completedPerSecond * (to - from)) / 1_000_000;
