// A consumer is away while orders go on: whether responses stay as fast with its backlog, how fast it catches up when
// it is back, and how much memory that takes. Only with services in processes of their own.
import { samplesOf, totalOf } from '../../demos/shared/metrics.ts';
import { note } from '../../demos/shared/terminal.ts';
import type { Benchmark } from '../benchmark.ts';
import { levelsOf, rateBetween, ratesOf, readEverySecond } from '../curve.ts';
import { figure, inPhase, type Measured, type Target } from '../figures.ts';
import { type Durations, memoryOf } from '../flood.ts';
import { type Load, ordersTo } from '../load.ts';
import { metricsOf, untilCompleted } from '../metrics.ts';
import { readTotals } from '../stored-totals.ts';
import type { System } from '../system.ts';
import { measureSustained } from './measure.ts';
import { measureSteady, type SteadyParameters } from './steady.ts';

export interface AwayParameters {
  /** Orders that wait for the consumer before responses are measured again. */
  readonly backlog: number;
  readonly steady: Pick<SteadyParameters, 'perSecond' | 'warmUp' | 'measured'>;
  readonly sustained: Durations;
  /** The responses' p95 with the backlog, as a multiple of the one before. */
  readonly responses?: Target | undefined;
  /** The rate of catching up, as a multiple of the sustained rate of completed orders. */
  readonly catchUp: Target;
  /** The memory of the largest process of a service, after catching up. */
  readonly memoryMegabytes: Target;
}

const AWAY = 'points';
/** The number of requests that get their responses long before the load's deadline. */
const CHUNK = 20_000;
/** The slowest rate that is worth a measurement. */
const MIN_PER_SECOND = 50;

export const awayBenchmark = (parameters: AwayParameters): Benchmark => ({
  redis: false,
  measure: (load, system) => measure(load, system, parameters),
});

async function measure(load: Load, system: System, parameters: AwayParameters): Promise<Measured> {
  const { backlog, steady, sustained: durations, responses, catchUp, memoryMegabytes } = parameters;
  const sustained = await measureSustained(load, system, durations);
  const before = await measureSteady(load, system, steady);
  let accepted = sustained.accepted + before.accepted;
  await untilCompleted(system, accepted);

  const { server, url } = system.processOf(AWAY);
  note(`  ${AWAY} is away …`);
  await server.kill('SIGTERM');
  await load.open(ordersTo(system.url));
  for (let upTo = 0; upTo < backlog; ) {
    upTo = Math.min(upTo + CHUNK, backlog);
    await load.send(upTo);
  }
  const away = await measureSteady(load, system, { ...steady, warmUp: 0 });
  const waiting = backlog + away.accepted;
  accepted += waiting;

  note(`  ${AWAY} catches up …`);
  await server.restart();
  const read = async () => ({ handled: await placedHandled(url), ...(await memoryOf(system.servicePids)) });
  const seconds = waiting / MIN_PER_SECOND;
  const moments = await readEverySecond(read, { seconds, done: ({ handled = 0 }) => handled >= waiting });
  if (Number(moments.at(-1)?.values.handled) < waiting) throw new Error(`${AWAY} did not catch up`);
  const busy = moments.filter(({ values }) => Number(values.handled) < waiting);
  const [first, last] = [busy[0], busy.at(-1)];
  const catchUpPerSecond = first && last && first !== last ? rateBetween(first, last, 'handled') : undefined;
  await untilCompleted(system, accepted, seconds * 1_000);
  const ratio = catchUpPerSecond && catchUpPerSecond / sustained.completedPerSecond;
  const memoryMb = Object.values(await memoryOf(system.servicePids));
  const { stored, settings } = await system.stopServices((query) => readTotals(query, accepted));
  return {
    figures: () =>
      inPhase(`${backlog} waiting`, [
        figure('responses before, p95', 'ms', before.p95),
        figure('responses with the backlog, p95', 'ms', away.p95),
        figure('responses, p95 with the backlog ÷ before', 'ratio', away.p95 / before.p95, responses),
        figure('sustained', '/s', sustained.completedPerSecond),
        figure('catching up', '/s', catchUpPerSecond),
        figure('catching up ÷ sustained', 'ratio', ratio, catchUp),
        figure('memory of the largest process, afterwards', 'MB', Math.max(...memoryMb), memoryMegabytes),
      ]),
    checks: [],
    settings,
    cpu: away.cpu,
    generatorCpu: [sustained.generatorCpu, before.generatorCpu, away.generatorCpu],
    curves: [
      { title: 'Responses before, p95 in milliseconds', values: levelsOf(before.moments, 'p95') },
      { title: 'Responses with the backlog, p95 in milliseconds', values: levelsOf(away.moments, 'p95') },
      { title: 'Messages handled per second, catching up', values: ratesOf(moments, 'handled') },
      { title: `Memory of ${AWAY}, in megabytes`, values: levelsOf(moments, AWAY) },
    ],
    raw: { sustained, before, away, moments, memoryMb, stored, settings },
  };
}

/** `order.placed` events that the process has handled since its start, each event once. */
async function placedHandled(url: string): Promise<number> {
  const handled = samplesOf(await metricsOf(url), 'sluice_messages_handled_total');
  return totalOf(handled.filter(({ labels }) => labels.type === 'order.placed' && labels.outcome === 'done'));
}
