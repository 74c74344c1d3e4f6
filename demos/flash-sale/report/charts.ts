// The charts of a sale, below each other on one time axis: requests, rejections, queue, orders.
import type { Color } from '../../shared/svg.ts';
import { count } from '../../shared/terminal.ts';
import { type Panel, panelsDocument } from '../../shared/time-chart.ts';
import { outcomeNames, type RejectedOutcome, rejectedOutcomes } from '../purchases.ts';
import type { Series } from '../series.ts';
import { perSecond, type Summary } from '../summary.ts';

const rejectionColors: Readonly<Record<RejectedOutcome, Color>> = {
  'queue-full': 'yellow',
  'sold-out': 'purple',
  'not-open': 'grey',
  overloaded: 'orange',
};

export function panelsOf(summary: Summary, series: Series): Panel[] {
  const { settings, requests, tickets, longestQueue } = summary;
  const { arrivals, returns } = series;
  const rates = (counts: readonly number[]) => counts.map((value) => (value * 1_000) / series.stepMs);
  const busiest = Math.max(0, ...rates(arrivals.map((first, step) => first + (returns[step] ?? 0))));
  const rejected = rejectedOutcomes
    .filter((outcome) => requests.answered[outcome] > 0)
    .map((outcome) => `${count(requests.answered[outcome])} ${outcomeNames[outcome]}`);
  const drain = { name: `drain ${count(settings.drain)}/s`, value: settings.drain };
  return [
    {
      id: 'arrivals',
      title: 'Requests per second',
      description: `${count(requests.sent)} requests, ${count(Math.round(busiest))} per second at the most, ${count(requests.again)} of them by buyers who came again.`,
      stacks: [
        { name: 'first attempt', color: 'blue', values: rates(arrivals) },
        { name: 'came again', color: 'sky', values: rates(returns) },
      ],
      limit: drain,
    },
    {
      id: 'rejections',
      title: 'Rejections per second, by reason',
      description: `Rejected requests: ${rejected.join(', ') || 'none'}.`,
      stacks: rejectedOutcomes.map((outcome) => ({
        name: outcomeNames[outcome],
        color: rejectionColors[outcome],
        values: rates(series.rejected[outcome]),
      })),
    },
    {
      id: 'queue',
      title: 'Queue length',
      description: `The queue held ${count(longestQueue)} at its longest, of at most ${count(settings.queue)}.`,
      stacks: [],
      line: {
        name: 'waiting and running',
        points: series.samples.map(({ atMs, queue }) => ({ atMs, value: queue })),
      },
      limit: { name: `cap ${count(settings.queue)}`, value: settings.queue },
    },
    {
      id: 'orders',
      title: 'Orders per second',
      description: `${count(tickets.ordered)} orders at ${perSecond(summary.ordersPerSecond)}; the queue drains at ${count(settings.drain)} per second.`,
      stacks: [{ name: 'orders', color: 'green', values: rates(series.orders) }],
      limit: drain,
    },
  ];
}

/** Milliseconds as seconds: `0.25`, `3`. */
export const seconds = (ms: number): string => String(Math.round(ms) / 1_000);

/** All charts as one SVG document. */
export function svgOf(summary: Summary, series: Series): string {
  const { settings, tickets, buyers } = summary;
  const title = `${count(settings.buyers)} buyers, ${count(settings.stock)} units, a queue of ${count(settings.queue)} that drains at ${count(settings.drain)} per second`;
  const subtitle = `${count(tickets.ordered)} ordered, ${count(settings.buyers - buyers.admitted)} buyers rejected; steps of ${seconds(series.stepMs)} s, from the opening`;
  return panelsDocument({ title, subtitle }, panelsOf(summary, series), series);
}
