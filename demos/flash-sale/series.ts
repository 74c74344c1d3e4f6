// The run over time in equal steps, for the charts and the report's table.
import { recordOf } from '../shared/record-of.ts';
import type { Color } from '../shared/svg.ts';
import { outcomeNames, rejectedOutcomes } from './purchases.ts';
import type { Run } from './run.ts';

export type Series = ReturnType<typeof seriesOf>;

/** What is counted: the requests of first attempts and of buyers who came again, each kind of rejection, the orders. */
export const counted = {
  first: { name: 'first attempt', color: 'blue' },
  again: { name: 'came again', color: 'sky' },
  'queue-full': { name: outcomeNames['queue-full'], color: 'yellow' },
  'sold-out': { name: outcomeNames['sold-out'], color: 'purple' },
  'not-open': { name: outcomeNames['not-open'], color: 'grey' },
  overloaded: { name: outcomeNames.overloaded, color: 'orange' },
  orders: { name: 'orders', color: 'green' },
} as const satisfies Record<string, { name: string; color: Color }>;
export type Counted = keyof typeof counted;

/** The finest of these that leaves few enough steps for a chart. */
const STEPS_MS = [250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000];
const MOST_STEPS = 80;

/** Each list has a value per step; times in milliseconds after the opening. */
export function seriesOf({ counters, tickets, samples }: Run) {
  const times: Record<Counted, readonly number[]> = {
    ...counters.arrivals,
    ...recordOf(rejectedOutcomes, (outcome) => counters.answers[outcome].atMs),
    orders: tickets.flatMap(({ orderedMs }) => orderedMs ?? []),
  };
  const all = [0, 1_000, ...Object.values(times).flat()];
  const earliest = all.reduce((a, b) => Math.min(a, b));
  const latest = all.reduce((a, b) => Math.max(a, b));
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
    counts: recordOf(Object.keys(counted) as Counted[], (name) => histogram(times[name])),
    /** The queue's length in the step's last sample; undefined without one. */
    queue: Array.from({ length: size }, (_, step) => queue.get(step)),
    samples: seen,
  };
}
