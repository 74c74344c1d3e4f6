// A flood: as many purchases as the connections bear, each answer followed by the next request.
import { setTimeout as delay } from 'node:timers/promises';
import { samplesOf, totalOf } from '../../demos/shared/metrics.ts';
import { cpuShares, cpuTimes } from '../cpu.ts';
import type { RequestLatency, Sample } from '../generator.ts';
import type { Load, Work } from '../load.ts';
import { type Durations, micros, UNLIMITED, type Window } from '../measure.ts';
import { metricsOf } from '../meter.ts';
import type { Peer } from '../peer.ts';
import type { System } from '../system.ts';

export interface Flooded {
  /** Answers by status, those of the warm-up and of the end included. */
  readonly answers: Readonly<Record<number, number>>;
  /** By status. */
  readonly perSecond: Readonly<Record<number, number>>;
  readonly latency: Readonly<Record<number, RequestLatency>>;
  /** Share of one CPU that the load generator used. */
  readonly generatorCpu: number;
  /** Shares of one CPU, by process. Empty where the platform does not tell. */
  readonly cpu: Readonly<Record<string, number>>;
  readonly window: Window;
}

export interface SystemFlooded extends Flooded {
  /** Share of the decisions that the sale's row was asked for, not the hint. */
  readonly byRow: number;
  /** From and to, in milliseconds of this machine's clock, which its databases tell time by as well. */
  readonly time: readonly [number, number];
}

/** Floods until `warmUp` and `measured` are over; resolves when everything that was sent is answered. */
async function keepFlooding<T>(
  load: Load,
  work: Work,
  pids: Readonly<Record<string, number>>,
  { warmUp, measured }: Durations,
  look: () => Promise<T>,
): Promise<{ flooded: Flooded; begin: T; end: T }> {
  const sample = async () => {
    const [sample, cpu, looked] = await Promise.all([load.sample(), cpuTimes(pids), look()]);
    return { sample, cpu, looked, at: micros() };
  };
  await load.open(work);
  load.allow(UNLIMITED);
  await delay(warmUp * 1_000);
  const begin = await sample();
  await delay(measured * 1_000);
  const end = await sample();
  const { answers } = await load.finish();
  const elapsedMs = end.sample.elapsedMs - begin.sample.elapsedMs;
  const flooded = {
    answers,
    perSecond: rates(begin.sample, end.sample),
    latency: end.sample.latency,
    generatorCpu: (end.sample.cpuMs - begin.sample.cpuMs) / elapsedMs,
    cpu: cpuShares(begin.cpu, end.cpu, elapsedMs),
    window: [begin.at, end.at] as const,
  };
  return { flooded, begin: begin.looked, end: end.looked };
}

export async function floodRoute(load: Load, work: Work, route: Peer, durations: Durations): Promise<Flooded> {
  const { flooded } = await keepFlooding(load, work, { route: route.pid }, durations, async () => undefined);
  return flooded;
}

export async function floodSystem(
  load: Load,
  system: System,
  work: Work,
  durations: Durations,
): Promise<SystemFlooded> {
  const { flooded, begin, end } = await keepFlooding(load, work, system.pids, durations, async () => {
    const time = Date.now();
    return { time, ...(await readDecisions(system.flashSaleUrl)) };
  });
  return {
    ...flooded,
    byRow: (end.byRow - begin.byRow) / (end.decisions - begin.decisions),
    time: [begin.time, end.time],
  };
}

function rates(begin: Sample, end: Sample): Record<number, number> {
  const seconds = (end.elapsedMs - begin.elapsedMs) / 1_000;
  return Object.fromEntries(
    Object.entries(end.answers).map(([status, count]) => [
      status,
      (count - (begin.answers[Number(status)] ?? 0)) / seconds,
    ]),
  );
}

async function readDecisions(url: string): Promise<{ decisions: number; byRow: number }> {
  const decisions = samplesOf(await metricsOf(url), 'sluice_flash_sale_decisions_total');
  return { decisions: totalOf(decisions), byRow: totalOf(decisions.filter(({ labels }) => labels.by === 'row')) };
}
