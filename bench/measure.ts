// The measurements: what a bare route takes, what the system completes when it is kept busy, and what it does with a
// burst.
import { setTimeout as delay } from 'node:timers/promises';
import type { Load } from './load.ts';
import type { Meter, Reading } from './meter.ts';

/** Orders that are accepted and not completed at a time while the load is sustained. */
export const MAX_OPEN = 2_000;
const POLL_MS = 200;
const DRAIN_WITHIN_MS = 120_000;
const UNLIMITED = 1_000_000_000;

export interface RouteRate {
  readonly perSecond: number;
  /** Share of one CPU that the load generator used. */
  readonly generatorCpu: number;
}

/** Requests per second that a bare route answers. */
export async function measureRoute(
  load: Load,
  url: string,
  { warmUpSeconds, seconds }: { warmUpSeconds: number; seconds: number },
): Promise<RouteRate> {
  load.open(url);
  load.allow(UNLIMITED);
  await delay(warmUpSeconds * 1_000);
  const begin = await load.sample();
  await delay(seconds * 1_000);
  const end = await load.sample();
  await load.finish();
  return {
    perSecond: ((end.accepted - begin.accepted) / (end.elapsedMs - begin.elapsedMs)) * 1_000,
    generatorCpu: (end.cpuMs - begin.cpuMs) / (end.elapsedMs - begin.elapsedMs),
  };
}

export interface Sustained {
  readonly acceptedPerSecond: number;
  readonly completedPerSecond: number;
  /** Completed in the window's last third against its first: 1 where it is steady. */
  readonly drift: number;
  /** Orders that were accepted and not completed, and events that had not left, when the window began and ended. */
  readonly open: readonly [number, number];
  readonly outbox: readonly [number, number];
  readonly generatorCpu: number;
}

/** Keeps the system as busy as it can be with at most MAX_OPEN orders under way, and measures what it completes. */
export async function measureSustained(
  load: Load,
  meter: Meter,
  url: string,
  { warmUpSeconds, seconds }: { warmUpSeconds: number; seconds: number },
): Promise<Sustained> {
  load.open(url);
  const already = (await meter.read()).completed;
  const readings: Reading[] = [];
  const keepBusy = async (forSeconds: number) => {
    const until = performance.now() + forSeconds * 1_000;
    while (performance.now() < until) {
      const reading = await meter.read();
      readings.push(reading);
      load.allow(reading.completed - already + MAX_OPEN);
      await delay(POLL_MS);
    }
  };
  const state = async () => {
    const [reading, sample, outbox] = await Promise.all([meter.read(), load.sample(), meter.outboxRows()]);
    return { reading, sample, outbox, open: sample.accepted + already - reading.completed };
  };

  await keepBusy(warmUpSeconds);
  readings.length = 0;
  const begin = await state();
  await keepBusy(seconds);
  const end = await state();

  const inWindow = [begin.reading, ...readings.filter(({ at }) => at > begin.reading.at), end.reading];
  const third = (end.reading.at - begin.reading.at) / 3;
  const after = (at: number) => inWindow.find((reading) => reading.at >= at) ?? end.reading;
  const generatorMs = end.sample.elapsedMs - begin.sample.elapsedMs;
  return {
    acceptedPerSecond: ((end.sample.accepted - begin.sample.accepted) / generatorMs) * 1_000,
    completedPerSecond: rate(begin.reading, end.reading),
    drift: rate(after(end.reading.at - third), end.reading) / rate(begin.reading, after(begin.reading.at + third)),
    open: [begin.open, end.open],
    outbox: [begin.outbox, end.outbox],
    generatorCpu: (end.sample.cpuMs - begin.sample.cpuMs) / generatorMs,
  };
}

const rate = (from: Reading, to: Reading) => ((to.completed - from.completed) / (to.at - from.at)) * 1_000;

/** Sends nothing more; resolves with the number of accepted orders when all of them are completed and all events left. */
export async function drain(load: Load, meter: Meter, already = 0): Promise<number> {
  const { accepted } = await load.finish();
  await untilCompleted(meter, already + accepted);
  const deadline = performance.now() + DRAIN_WITHIN_MS;
  while ((await meter.outboxRows()) > 0) {
    if (performance.now() > deadline) throw new Error(`the outboxes are not empty after ${DRAIN_WITHIN_MS / 1_000} s`);
    await delay(POLL_MS);
  }
  return accepted;
}

async function untilCompleted(meter: Meter, accepted: number): Promise<Reading> {
  const deadline = performance.now() + DRAIN_WITHIN_MS;
  for (;;) {
    const reading = await meter.read();
    if (reading.completed >= accepted) return reading;
    if (performance.now() > deadline) {
      throw new Error(`${reading.completed} of ${accepted} orders completed within ${DRAIN_WITHIN_MS / 1_000} s`);
    }
    await delay(POLL_MS);
  }
}

export interface Burst {
  readonly orders: number;
  readonly acceptedPerSecond: number;
  /** While they were being accepted. */
  readonly completedPerSecond: number;
  /** From the first request until every order is completed. */
  readonly completedAfterSeconds: number;
  readonly generatorCpu: number;
}

/** Orders as fast as they are accepted, into a system that has nothing to do. */
export async function measureBurst(load: Load, meter: Meter, url: string, orders: number): Promise<Burst> {
  const begin = await meter.read();
  load.open(url);
  const sent = await load.send(orders);
  const accepted = await meter.read();
  const end = await untilCompleted(meter, begin.completed + orders);
  return {
    orders,
    acceptedPerSecond: (orders / sent.elapsedMs) * 1_000,
    completedPerSecond: rate(begin, accepted),
    completedAfterSeconds: (end.at - begin.at) / 1_000,
    generatorCpu: sent.cpuMs / sent.elapsedMs,
  };
}
