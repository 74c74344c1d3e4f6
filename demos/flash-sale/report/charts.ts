// The charts of a sale, below each other on one time axis: requests, rejections, queue, orders.
import { recordOf } from '../../shared/record-of.ts';
import type { Color } from '../../shared/svg.ts';
import { text } from '../../shared/terminal.ts';
import { type Panel, panelsDocument } from '../../shared/time-chart.ts';
import { outcomeNames, outcomesWithoutTicket } from '../purchases.ts';
import type { Run } from '../run.ts';
import { perSecond, type Summary } from '../summary.ts';

export type Series = ReturnType<typeof seriesOf>;

/** The series: the requests of first attempts and of buyers who came again, each kind of rejection, the orders. */
export const counted = {
  first: { name: 'first attempt', color: 'blue' },
  again: { name: 'came again', color: 'sky' },
  'queue-full': { name: outcomeNames['queue-full'], color: 'yellow' },
  'sold-out': { name: outcomeNames['sold-out'], color: 'purple' },
  'not-open': { name: outcomeNames['not-open'], color: 'grey' },
  overloaded: { name: outcomeNames.overloaded, color: 'orange' },
  orders: { name: 'orders', color: 'green' },
} as const satisfies Record<string, { name: string; color: Color }>;
type Counted = keyof typeof counted;

/** The finest of these that leaves few enough steps for a chart. */
const STEPS_MS = [250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000];
const MOST_STEPS = 80;

/** The run over time in equal steps. Each list has a value per step; times in milliseconds after the opening. */
export function seriesOf({ counters, tickets, samples }: Run) {
  const times: Record<Counted, readonly number[]> = {
    ...counters.arrivals,
    ...recordOf(outcomesWithoutTicket, (outcome) => counters.responses[outcome].atMs),
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

export function panelsOf(summary: Summary, { counts, samples, stepMs }: Series): Panel[] {
  const { settings, requests, tickets, longestQueue } = summary;
  const rates = (values: readonly number[]) => values.map((value) => (value * 1_000) / stepMs);
  const stack = (name: Counted) => ({ ...counted[name], values: rates(counts[name]) });
  const busiest = Math.max(0, ...rates(counts.first.map((first, step) => first + (counts.again[step] ?? 0))));
  const rejected = outcomesWithoutTicket
    .filter((outcome) => requests.responses[outcome] > 0)
    .map((outcome) => text`${requests.responses[outcome]} ${outcomeNames[outcome]}`);
  const drain = { name: text`drain ${settings.drain}/s`, value: settings.drain };
  return [
    {
      id: 'arrivals',
      title: 'Requests per second',
      description: text`${requests.sent} requests, at most ${Math.round(busiest)} per second, ${requests.again} of them by buyers who came again.`,
      stacks: [stack('first'), stack('again')],
      limit: drain,
    },
    {
      id: 'rejections',
      title: 'Rejections per second, by reason',
      description: `Rejected requests: ${rejected.join(', ') || 'none'}.`,
      stacks: outcomesWithoutTicket.map(stack),
    },
    {
      id: 'queue',
      title: 'Queue length',
      description: text`The queue held ${longestQueue} at its longest, of at most ${settings.queue}.`,
      stacks: [],
      line: { name: 'queued tickets', points: samples.map(({ atMs, queue }) => ({ atMs, value: queue })) },
      limit: { name: text`cap ${settings.queue}`, value: settings.queue },
    },
    {
      id: 'orders',
      title: 'Orders per second',
      description: text`${tickets.ordered} orders at ${perSecond(summary.ordersPerSecond)}; the queue drains at ${settings.drain} per second.`,
      stacks: [stack('orders')],
      limit: drain,
    },
  ];
}

/** Milliseconds as seconds: `0.25`, `3`. */
export const seconds = (ms: number): string => String(Math.round(ms) / 1_000);

/** All charts as one SVG document. */
export function svgOf(summary: Summary, series: Series): string {
  const { buyers, stock, queue, drain } = summary.settings;
  const title = text`${buyers} buyers, ${stock} units, a queue of ${queue} that drains at ${drain} per second`;
  const subtitle = text`${summary.tickets.ordered} ordered, ${buyers - summary.buyers.admitted} buyers rejected; steps of ${seconds(series.stepMs)} s, from the opening`;
  return panelsDocument({ title, subtitle }, panelsOf(summary, series), series);
}
