// A flood: as many requests as the connections bear, each answer followed by the next request.
import { setTimeout as delay } from 'node:timers/promises';
import { cpuShares, cpuTimes } from './cpu.ts';
import type { RequestLatency, Sample } from './generator.ts';
import type { Load, Work } from './load.ts';
import { type Durations, micros, type Window } from './measure.ts';
import type { Peer } from './peer.ts';

const UNLIMITED = 1_000_000_000;

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

export interface FloodOptions<T> {
  readonly load: Load;
  readonly work: Work;
  /** Whose CPU time counts, by name. */
  readonly pids: Readonly<Record<string, number>>;
  readonly durations: Durations;
  /** Called when what is measured begins and when it ends. */
  readonly look: () => Promise<T>;
}

/** Floods until `warmUp` and `measured` are over; resolves when everything that was sent is answered. */
export async function flood<T>({
  load,
  work,
  pids,
  durations: { warmUp, measured },
  look,
}: FloodOptions<T>): Promise<{ flooded: Flooded; begin: T; end: T }> {
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
  const { flooded } = await flood({ load, work, pids: { route: route.pid }, durations, look: async () => undefined });
  return flooded;
}

export const answeredPerSecond = ({ perSecond }: Flooded): number =>
  Object.values(perSecond).reduce((sum, rate) => sum + rate, 0);

function rates(begin: Sample, end: Sample): Record<number, number> {
  const seconds = (end.elapsedMs - begin.elapsedMs) / 1_000;
  return Object.fromEntries(
    Object.entries(end.answers).map(([status, count]) => [
      status,
      (count - (begin.answers[Number(status)] ?? 0)) / seconds,
    ]),
  );
}
