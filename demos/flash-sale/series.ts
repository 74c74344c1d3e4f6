// The run over time in equal steps, for the charts and the report's table.
import { recordOf } from '../shared/record-of.ts';
import { rejectedOutcomes } from './purchases.ts';
import type { Run } from './run.ts';

export type Series = ReturnType<typeof seriesOf>;

/** The finest of these that leaves few enough steps for a chart. */
const STEPS_MS = [250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000];
const MOST_STEPS = 80;

/** Each list has a value per step; times in milliseconds after the opening. */
export function seriesOf({ counters, tickets, samples }: Run) {
  const { first, again } = counters.arrivals;
  const orders = tickets.flatMap(({ orderedMs }) => orderedMs ?? []);
  const all = [first, again, orders, ...rejectedOutcomes.map((outcome) => counters.answers[outcome].atMs)];
  const earliest = Math.min(0, ...all.map((times) => times.reduce((a, b) => Math.min(a, b), 0)));
  const latest = Math.max(1_000, ...all.map((times) => times.reduce((a, b) => Math.max(a, b), 0)));
  const stepMs = STEPS_MS.find((step) => (latest - earliest) / step <= MOST_STEPS) ?? (latest - earliest) / MOST_STEPS;
  const fromMs = Math.floor(earliest / stepMs) * stepMs;
  const toMs = (Math.floor(latest / stepMs) + 1) * stepMs;
  const size = Math.round((toMs - fromMs) / stepMs);
  const stepOf = (atMs: number) => Math.floor((atMs - fromMs) / stepMs);
  const histogram = (times: readonly number[]): number[] => {
    const counts: number[] = new Array(size).fill(0);
    for (const time of times) counts[stepOf(time)] = (counts[stepOf(time)] ?? 0) + 1;
    return counts;
  };
  const seen = samples.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
  const queue = new Map(seen.map((sample) => [stepOf(sample.atMs), sample.queue]));
  return {
    stepMs,
    fromMs,
    toMs,
    /** Requests of first attempts, and of buyers who came again. */
    arrivals: histogram(first),
    returns: histogram(again),
    rejected: recordOf(rejectedOutcomes, (outcome) => histogram(counters.answers[outcome].atMs)),
    orders: histogram(orders),
    /** The queue's length in the step's last sample; undefined without one. */
    queue: Array.from({ length: size }, (_, step) => queue.get(step)),
    samples: seen,
  };
}
