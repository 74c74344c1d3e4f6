// The measurements of orders: the rate at which a busy system completes them, and how it takes a burst.
import { MAX_OPEN } from './bodies.ts';
import type { Durations } from './flood.ts';
import { type Interval, intervalBetween, micros, observe, rateOf, type Window } from './interval.ts';
import { type Load, ordersTo, responseCount } from './load.ts';
import { Meter, type Reading } from './meter.ts';
import type { System } from './system.ts';

export interface Sustained extends Interval {
  readonly completedPerSecond: number;
  readonly acceptedPerSecond: number;
  /** All orders, including those of the warm-up and of the end. */
  readonly accepted: number;
  /** The completion rate in the window's last third divided by that in its first: 1 if it is steady. */
  readonly drift: number;
  /** Orders not completed plus events not published: at the window's end minus at its begin. */
  readonly backlogGrowth: number;
}

/**
 * Keeps the system as busy as it can be with at most MAX_OPEN orders open, measures the rate of completion, and waits
 * until every order is completed.
 */
export async function measureSustained(load: Load, system: System, durations: Durations): Promise<Sustained> {
  const meter = new Meter(system);
  const readings: Reading[] = [];
  const keepBusy = (seconds: number) =>
    meter.poll(seconds, (reading) => {
      readings.push(reading);
      load.allow(reading.completed + MAX_OPEN);
    });
  const look = async () => {
    const [reading, rows, observed] = await Promise.all([meter.read(), meter.outboxRows(), observe(load, system.pids)]);
    readings.push(reading);
    return { ...observed, reading, backlog: responseCount(observed.sample) - reading.completed + rows };
  };

  await load.open(ordersTo(system.url));
  await keepBusy(durations.warmUp);
  readings.length = 0;
  const begin = await look();
  await keepBusy(durations.measured);
  const end = await look();

  const accepted = responseCount(await load.finish());
  await meter.untilCompleted(accepted);
  const interval = intervalBetween(begin, end);
  return {
    ...interval,
    completedPerSecond: completionRate(begin.reading, end.reading),
    acceptedPerSecond: rateOf(interval, 201),
    accepted,
    drift: driftOf(readings),
    backlogGrowth: end.backlog - begin.backlog,
  };
}

export interface Burst {
  readonly orders: number;
  readonly acceptedPerSecond: number;
  /** Until the last order is accepted. */
  readonly completedPerSecond: number;
  /** From the first order until all are completed. */
  readonly completedAfterSeconds: number;
  readonly generatorCpu: number;
  /** Until the last order is accepted. */
  readonly window: Window;
}

/** Orders as fast as they are accepted, into an idle system. */
export async function measureBurst(load: Load, system: System, orders: number): Promise<Burst> {
  const meter = new Meter(system);
  const begin = await meter.read();
  await load.open(ordersTo(system.url));
  const from = micros();
  const sent = await load.send(orders);
  const to = micros();
  const accepted = await meter.read();
  const end = await meter.untilCompleted(begin.completed + orders);
  return {
    orders,
    acceptedPerSecond: (orders / sent.elapsedMs) * 1_000,
    completedPerSecond: completionRate(begin, accepted),
    completedAfterSeconds: (end.at - begin.at) / 1_000,
    generatorCpu: sent.cpuMs / sent.elapsedMs,
    window: [from, to],
  };
}

/** Orders completed per second between two readings. */
const completionRate = (from: Reading, to: Reading) => ((to.completed - from.completed) / (to.at - from.at)) * 1_000;

/** `readings` in the order of time. */
function driftOf(readings: readonly Reading[]): number {
  const [first, last] = [readings[0], readings.at(-1)];
  if (!first || !last) return Number.NaN;
  const third = (last.at - first.at) / 3;
  const at = (time: number) => readings.find((reading) => reading.at >= time) ?? last;
  return completionRate(at(last.at - third), last) / completionRate(first, at(first.at + third));
}
