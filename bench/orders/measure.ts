// The measurements of orders: the rate at which a busy system completes them, and how it copes with a burst.
import { setTimeout as delay } from 'node:timers/promises';
import { type Durations, intervalBetween, observe, rateOf } from '../flood.ts';
import { type Load, ordersTo, responseCount, type Work } from '../load.ts';
import { outboxRows, POLL_MS, type Reading, readCompleted, untilCompleted } from '../metrics.ts';
import type { System } from '../system.ts';

/** Accepted orders that are not completed, at a time, while the load is sustained. */
export const MAX_OPEN = 2_000;

/**
 * Keeps the system as busy as it can be with at most MAX_OPEN orders open, measures the rate of completion, and waits
 * until every order is completed. `tokens`: the secret of the users' tokens, if they have some.
 */
export async function measureSustained(
  load: Load,
  system: System,
  durations: Durations,
  tokens: Pick<Work, 'secret'> = {},
) {
  const { completed: before } = await readCompleted(system);
  const readings: Reading[] = [];
  const keepBusy = async (seconds: number) => {
    for (const until = performance.now() + seconds * 1_000; performance.now() < until; await delay(POLL_MS)) {
      const reading = await readCompleted(system);
      readings.push(reading);
      load.allow(reading.completed - before + MAX_OPEN);
    }
  };
  const observeAll = async () => {
    const observing = observe(load, system.pids);
    const [reading, rows, observed] = await Promise.all([readCompleted(system), outboxRows(system), observing]);
    readings.push(reading);
    return { ...observed, reading, backlog: responseCount(observed.sample) + before - reading.completed + rows };
  };

  await load.open({ ...ordersTo(system.url), ...tokens });
  await keepBusy(durations.warmUp);
  readings.length = 0;
  const begin = await observeAll();
  await keepBusy(durations.measured);
  const end = await observeAll();

  const accepted = responseCount(await load.send(0));
  await untilCompleted(system, before + accepted);
  const interval = intervalBetween(begin, end);
  return {
    ...interval,
    completedPerSecond: completionRate(begin.reading, end.reading),
    acceptedPerSecond: rateOf(interval, 201),
    /** All orders, including those of the warm-up and of the end. */
    accepted,
    drift: driftOf(readings),
    completedEachSecond: eachSecond(readings),
    /** Orders not completed plus events not published, as a share of the completed orders. */
    backlogGrowth: (end.backlog - begin.backlog) / (end.reading.completed - begin.reading.completed),
  };
}

/** Orders as fast as they are accepted, into an idle system. */
export async function measureBurst(load: Load, system: System, orders: number) {
  await load.open(ordersTo(system.url));
  const begin = await readCompleted(system);
  const sent = await load.send(orders);
  const accepted = await readCompleted(system);
  const end = await untilCompleted(system, begin.completed + orders);
  return {
    orders,
    acceptedPerSecond: (orders / sent.elapsedMs) * 1_000,
    /** Until the last order is accepted. */
    completedPerSecond: completionRate(begin, accepted),
    /** From the first order until all are completed. */
    completedAfterSeconds: (end.at - begin.at) / 1_000,
    generatorCpu: sent.cpuMs / sent.elapsedMs,
  };
}

/** Orders completed per second between two readings. */
const completionRate = (from: Reading, to: Reading) => ((to.completed - from.completed) / (to.at - from.at)) * 1_000;

/** The completion rate in each second. `readings` are in the order of time. */
function eachSecond(readings: readonly Reading[]): number[] {
  const rates: number[] = [];
  let [from] = readings;
  for (const reading of readings) {
    if (!from || reading.at < from.at + 1_000) continue;
    rates.push(completionRate(from, reading));
    from = reading;
  }
  return rates;
}

/**
 * The completion rate in the last third of the time divided by that in the first: 1 if it is steady. `readings` are in
 * the order of time.
 */
function driftOf(readings: readonly Reading[]): number {
  const [first, last] = [readings[0], readings.at(-1)];
  if (!first || !last) return Number.NaN;
  const third = (last.at - first.at) / 3;
  const at = (time: number) => readings.find((reading) => reading.at >= time) ?? last;
  return completionRate(at(last.at - third), last) / completionRate(first, at(first.at + third));
}
