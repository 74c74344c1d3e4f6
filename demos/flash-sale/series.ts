// The run over time in equal steps, for the charts and the report's table.
import { type RejectedOutcome, rejectedOutcomes } from './purchases.ts';
import type { Run } from './run.ts';

interface Step {
  /** The step's begin, after the opening, in milliseconds. */
  readonly atMs: number;
  /** Requests of first attempts, and of buyers who came again. */
  readonly arrivals: number;
  readonly returns: number;
  readonly rejected: Readonly<Record<RejectedOutcome, number>>;
  readonly orders: number;
  /** The queue's length in the step's last sample; undefined without one. */
  readonly queue: number | undefined;
}

export interface Series {
  readonly stepMs: number;
  readonly fromMs: number;
  readonly toMs: number;
  readonly steps: readonly Step[];
  readonly samples: readonly { readonly atMs: number; readonly queue: number }[];
  readonly queueCap: number;
  readonly drainPerSecond: number;
}

/** The finest of these that leaves few enough steps for a chart. */
const STEPS_MS = [250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000];
const MOST_STEPS = 80;

export function seriesOf({ counters, tickets, samples, settings }: Run): Series {
  const orders = tickets.flatMap(({ orderedMs }) => orderedMs ?? []);
  const rejected = rejectedOutcomes.map((outcome) => counters.answers[outcome].atMs);
  const { first, again } = counters.arrivals;
  const all = [first, again, orders, ...rejected];
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

  const [firsts, agains, ordered] = [histogram(first), histogram(again), histogram(orders)];
  const rejections = rejected.map(histogram);
  const seen = samples.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
  const queue = new Map(seen.map((sample) => [stepOf(sample.atMs), sample.queue]));
  const steps = Array.from({ length: size }, (_, index): Step => {
    const rejectedHere = rejectedOutcomes.map((outcome, row) => [outcome, rejections[row]?.[index] ?? 0]);
    return {
      atMs: fromMs + index * stepMs,
      arrivals: firsts[index] ?? 0,
      returns: agains[index] ?? 0,
      rejected: Object.fromEntries(rejectedHere) as Record<RejectedOutcome, number>,
      orders: ordered[index] ?? 0,
      queue: queue.get(index),
    };
  });
  return {
    stepMs,
    fromMs,
    toMs,
    steps,
    samples: seen,
    queueCap: settings.queue,
    drainPerSecond: settings.drain,
  };
}
