// A flood: as many requests as the connections carry, each response followed by the next request.
import { setTimeout as delay } from 'node:timers/promises';
import type { RequestLatency } from './generator.ts';
import { type Interval, intervalBetween, observe } from './interval.ts';
import type { Load, Work } from './load.ts';

const UNLIMITED = 1_000_000_000;

/** In seconds. The warm-up, in which code is still being compiled, does not count. */
export interface Durations {
  readonly warmUp: number;
  readonly measured: number;
}

export interface Flooded extends Interval {
  /** Responses by status, including the warm-up and the end. */
  readonly responses: Readonly<Record<number, number>>;
  readonly latency: Readonly<Record<number, RequestLatency>>;
}

/**
 * Floods for `warmUp` and `measured`; resolves when every request has its response. `pids`: the processes whose CPU time
 * counts, by name. `onMeasure` is called when the measured time begins and when it ends.
 */
export async function flood(
  load: Load,
  work: Work,
  { warmUp, measured }: Durations,
  { pids, onMeasure }: { pids: Readonly<Record<string, number>>; onMeasure?: () => Promise<void> },
): Promise<Flooded> {
  const look = async () => (await Promise.all([observe(load, pids), onMeasure?.()]))[0];
  await load.open(work);
  load.allow(UNLIMITED);
  await delay(warmUp * 1_000);
  const begin = await look();
  await delay(measured * 1_000);
  const end = await look();
  const { responses } = await load.send(0);
  return { ...intervalBetween(begin, end), responses, latency: end.sample.latency };
}
