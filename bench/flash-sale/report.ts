// What the floods showed: decisions and admissions against the bare route, the drain's pace, latencies.
import {
  type BenchmarkReport,
  byMode,
  durabilityCheck,
  environment,
  type Figure,
  figure,
  generatorCheck,
  headroomCheck,
  type Reach,
  type Unit,
} from '../figures.ts';
import type { Flooded } from '../flood.ts';
import type { RequestLatency } from '../generator.ts';
import { BROKEN } from '../raw-http.ts';
import type { Mode } from '../system.ts';
import type { FloodedSale } from './flood-sale.ts';
import { ADMITTED, BUSY, FULL, OVER } from './purchases.ts';
import { type FloodPhase, floodPhases, type Round } from './round.ts';
import { PACE } from './sales.ts';

/** The least share of the bare route's rate at which decisions are to be made. */
const DECISIONS: Readonly<Record<Mode, Reach>> = { embedded: { least: 0.5 }, separate: { least: 0.7 } };
/** Tickets that leave the queue, against the pace that was asked for. */
const DRAIN: Reach = { least: 0.98, most: 1.02 };
/** The generator must be able to send this many times faster than the bare route answers. */
const MIN_HEADROOM = 1.5;

const rateOf = ({ perSecond }: Flooded, ...statuses: readonly number[]) =>
  statuses.reduce((sum, status) => sum + (perSecond[status] ?? 0), 0);
const decisionsOf = (flooded: Flooded) => rateOf(flooded, ADMITTED, OVER, FULL);
const routeOf = ({ route: [before, after] }: Round) => (rateOf(before, FULL) + rateOf(after, FULL)) / 2;
/** Of CPU time, in seconds for each answer. */
const routeCost = ({ route }: Round) =>
  route.reduce((sum, { cpu }) => sum + (cpu.route ?? Number.NaN), 0) /
  route.reduce((sum, flooded) => sum + rateOf(flooded, FULL), 0);

/** `echoPerSecond`: what the generator gets out of a bare node:http server. */
export function createReport(rounds: readonly Round[], echoPerSecond: number): BenchmarkReport<Round> {
  const { modes, lastOf } = byMode(rounds);
  const routes = rounds.flatMap(({ route }) => route);
  const route = figure(
    'bare Express route, purchases answered',
    '/s',
    routes.map((flooded) => rateOf(flooded, FULL)),
  );
  const headroom = echoPerSecond / route.median;
  // Under overload the generator may well be the limit: no ratio depends on it.
  const asRatios = [...routes, ...rounds.flatMap(({ floods }) => [floods.full, floods['sold out'], floods.unbounded])];
  const broken = asRatios.reduce((sum, { answers }) => sum + (answers[BROKEN] ?? 0), 0);
  const uncounted = Math.max(...rounds.flatMap(({ floods }) => floodPhases.map((phase) => floods[phase].uncounted)));
  return {
    environment: environment(rounds.length / modes.length),
    figures: [
      route,
      ...latencies(routes, FULL, 'answered by the bare route'),
      ...modes.flatMap(([mode, ofMode]) => figuresOf(mode, ofMode)),
    ],
    checks: [
      generatorCheck(Math.max(...asRatios.map(({ generatorCpu }) => generatorCpu))),
      headroomCheck(headroom, MIN_HEADROOM),
      { name: 'connections that broke, but for the overload', value: broken, ok: broken === 0 },
      { name: 'rejections that the sale did not count', value: uncounted, ok: uncounted === 0 },
      durabilityCheck(rounds.map(({ settings }) => settings)),
    ],
    durability: lastOf(({ settings }) => settings),
    cpu: lastOf(({ floods }) => floods.full.cpu),
    rounds,
  };
}

function figuresOf(mode: Mode, rounds: readonly Round[]): Figure[] {
  const of =
    (phase: FloodPhase) =>
    (
      name: string,
      unit: Unit,
      value: (flooded: Round['floods'][FloodPhase], round: Round) => number,
      reach?: Reach,
    ): Figure => ({
      ...{ mode, phase },
      ...figure(
        name,
        unit,
        rounds.map((round) => value(round.floods[phase], round)),
        reach,
      ),
    });
  const latency = (phase: FloodPhase, status: number, name: string) =>
    latencies(
      rounds.map(({ floods }) => floods[phase]),
      status,
      name,
    ).map((each) => ({ mode, phase, ...each }));
  const toRoute = (flooded: Flooded, round: Round) => decisionsOf(flooded) / routeOf(round);
  const cost = (flooded: Flooded, round: Round) =>
    (flooded.cpu[mode === 'embedded' ? 'all' : 'flash-sale'] ?? Number.NaN) / decisionsOf(flooded) / routeCost(round);
  const drained = ({ drainedPerSecond }: { readonly drainedPerSecond: number }) => drainedPerSecond / PACE;
  const busy = (flooded: Flooded) => rateOf(flooded, BUSY) / (rateOf(flooded, BUSY) + decisionsOf(flooded));
  const byRow = ({ byRow }: FloodedSale) => byRow;

  const [atFull, atSoldOut, atOverload, atUnbounded] = [of('full'), of('sold out'), of('overload'), of('unbounded')];
  return [
    atFull('decisions', '/s', decisionsOf),
    atFull('decisions ÷ route', 'ratio', toRoute, DECISIONS[mode]),
    atFull('CPU per decision ÷ per request of the route', 'ratio', cost),
    atFull('drained ÷ pace', 'ratio', drained, DRAIN),
    atFull('asked the row ÷ decisions', 'ratio', byRow),
    atFull('503 ÷ answers', 'ratio', busy),
    ...latency('full', FULL, 'rejected'),
    ...latency('full', ADMITTED, 'admitted'),
    atSoldOut('decisions', '/s', decisionsOf),
    atSoldOut('decisions ÷ route', 'ratio', toRoute, DECISIONS[mode]),
    atSoldOut('CPU per decision ÷ per request of the route', 'ratio', cost),
    atSoldOut('asked the row ÷ decisions', 'ratio', byRow),
    ...latency('sold out', OVER, 'rejected'),
    atOverload('decisions', '/s', decisionsOf),
    atOverload('decisions ÷ route', 'ratio', toRoute),
    atOverload('503', '/s', (flooded) => rateOf(flooded, BUSY)),
    atOverload('503 ÷ answers', 'ratio', busy),
    atOverload('connections that broke', '/s', (flooded) => rateOf(flooded, BROKEN)),
    atOverload('drained ÷ pace', 'ratio', drained),
    atOverload('load generator, share of one CPU', 'ratio', ({ generatorCpu }) => generatorCpu),
    ...latency('overload', FULL, 'rejected'),
    ...latency('overload', ADMITTED, 'admitted'),
    ...latency('overload', BUSY, '503'),
    atUnbounded('admitted', '/s', (flooded) => rateOf(flooded, ADMITTED)),
    atUnbounded('admitted ÷ route', 'ratio', (flooded, round) => rateOf(flooded, ADMITTED) / routeOf(round)),
    atUnbounded('CPU per decision ÷ per request of the route', 'ratio', cost),
    atUnbounded('drained ÷ pace', 'ratio', drained),
    ...latency('unbounded', ADMITTED, 'admitted'),
  ];
}

/** None where no answer had that status. */
function latencies(floods: readonly Flooded[], status: number, name: string): Figure[] {
  const found = floods.flatMap(({ latency }) => latency[status] ?? []);
  if (found.length === 0) return [];
  const percentile = (which: keyof RequestLatency) =>
    figure(
      `${name}, ${which}`,
      'ms',
      found.map((latency) => latency[which]),
    );
  return [percentile('p50'), percentile('p99')];
}
