// The measurements: what the system completes when it is kept busy, and what it does with a burst.
import { setTimeout as delay } from 'node:timers/promises';
import { cpuShares, cpuTimes } from './cpu.ts';
import { answersOf, type Load, ordersTo } from './load.ts';
import { Meter, type Reading } from './meter.ts';
import { MAX_OPEN } from './orders.ts';
import type { System } from './system.ts';

const POLL_MS = 200;
const COMPLETED_WITHIN_MS = 180_000;

/** In seconds. What is measured while code is still being compiled does not count. */
export interface Durations {
  readonly warmUp: number;
  readonly measured: number;
}

/** From and to, in microseconds of the monotonic clock, as CPU profiles tell time. */
export type Window = readonly [number, number];
export const micros = () => Number(process.hrtime.bigint() / 1_000n);

export interface Sustained {
  readonly completedPerSecond: number;
  readonly acceptedPerSecond: number;
  /** Of all orders, those of the warm-up and of the end included. */
  readonly accepted: number;
  /** What was completed per second in the window's last third, divided by that of its first: 1 where it is steady. */
  readonly drift: number;
  /** Orders not completed and events not sent, when the window ended minus when it began. */
  readonly backlogGrowth: number;
  readonly generatorCpu: number;
  /** Shares of one CPU, by process; a server's with those of its children. Empty where the platform does not tell. */
  readonly cpu: Readonly<Record<string, number>>;
  readonly window: Window;
}

/**
 * Keeps the system as busy as it can be with at most MAX_OPEN orders under way, measures what it completes, and waits
 * until it has completed everything.
 */
export async function measureSustained(
  load: Load,
  system: System,
  { warmUp, measured }: Durations,
): Promise<Sustained> {
  const meter = new Meter(system.url, Object.values(system.urls));
  const readings: Reading[] = [];
  const keepBusy = async (seconds: number) => {
    const until = performance.now() + seconds * 1_000;
    while (performance.now() < until) {
      const reading = await meter.read();
      readings.push(reading);
      load.allow(reading.completed + MAX_OPEN);
      await delay(POLL_MS);
    }
  };
  const look = async () => {
    const [reading, sample, waiting, cpu] = await Promise.all([
      meter.read(),
      load.sample(),
      meter.outboxRows(),
      cpuTimes(system.pids),
    ]);
    readings.push(reading);
    return { reading, sample, cpu, micros: micros(), backlog: answersOf(sample) - reading.completed + waiting };
  };

  await load.open(ordersTo(system.url));
  await keepBusy(warmUp);
  readings.length = 0;
  const begin = await look();
  await keepBusy(measured);
  const end = await look();

  const accepted = answersOf(await load.finish());
  await untilCompleted(meter, accepted);
  const elapsedMs = end.sample.elapsedMs - begin.sample.elapsedMs;
  return {
    completedPerSecond: rate(begin.reading, end.reading),
    acceptedPerSecond: ((answersOf(end.sample) - answersOf(begin.sample)) / elapsedMs) * 1_000,
    accepted,
    drift: driftOf(readings),
    backlogGrowth: end.backlog - begin.backlog,
    generatorCpu: (end.sample.cpuMs - begin.sample.cpuMs) / elapsedMs,
    cpu: cpuShares(begin.cpu, end.cpu, elapsedMs),
    window: [begin.micros, end.micros],
  };
}

export interface Burst {
  readonly orders: number;
  readonly acceptedPerSecond: number;
  /** While they were being accepted. */
  readonly completedPerSecond: number;
  /** From the first order until all are completed. */
  readonly completedAfterSeconds: number;
  readonly generatorCpu: number;
  /** While they were being accepted. */
  readonly window: Window;
}

/** Orders as fast as they are accepted, into a system that has nothing to do. */
export async function measureBurst(load: Load, system: System, orders: number): Promise<Burst> {
  const meter = new Meter(system.url, Object.values(system.urls));
  const begin = await meter.read();
  await load.open(ordersTo(system.url));
  const from = micros();
  const sent = await load.send(orders);
  const to = micros();
  const accepted = await meter.read();
  const end = await untilCompleted(meter, begin.completed + orders);
  return {
    orders,
    acceptedPerSecond: (orders / sent.elapsedMs) * 1_000,
    completedPerSecond: rate(begin, accepted),
    completedAfterSeconds: (end.at - begin.at) / 1_000,
    generatorCpu: sent.cpuMs / sent.elapsedMs,
    window: [from, to],
  };
}

/** Completed per second between two readings. */
const rate = (from: Reading, to: Reading) => ((to.completed - from.completed) / (to.at - from.at)) * 1_000;

/** `readings` are in order of time. */
function driftOf(readings: readonly Reading[]): number {
  const [first, last] = [readings[0], readings.at(-1)];
  if (!first || !last) return Number.NaN;
  const third = (last.at - first.at) / 3;
  const at = (time: number) => readings.find((reading) => reading.at >= time) ?? last;
  return rate(at(last.at - third), last) / rate(first, at(first.at + third));
}

/** Resolves when that many orders are completed and all events and notifications have left. */
async function untilCompleted(meter: Meter, orders: number): Promise<Reading> {
  const deadline = performance.now() + COMPLETED_WITHIN_MS;
  const before = (what: string) => {
    if (performance.now() > deadline) throw new Error(`${what} after ${COMPLETED_WITHIN_MS / 1_000} s`);
  };
  let reading = await meter.read();
  while (reading.completed < orders) {
    before(`${reading.completed} of ${orders} orders are completed`);
    await delay(POLL_MS);
    reading = await meter.read();
  }
  while ((await meter.outboxRows()) > 0) {
    before('the outboxes are not empty');
    await delay(POLL_MS);
  }
  return reading;
}
