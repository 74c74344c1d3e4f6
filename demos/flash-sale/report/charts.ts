// The charts of a sale, below each other on one time axis: requests, rejections, queue, orders.
import { text } from '../../shared/terminal.ts';
import { type Panel, panelsDocument } from '../../shared/time-chart.ts';
import { outcomeNames, rejectedOutcomes } from '../purchases.ts';
import { type Counted, counted, type Series } from '../series.ts';
import { perSecond, type Summary } from '../summary.ts';

export function panelsOf(summary: Summary, { counts, samples, stepMs }: Series): Panel[] {
  const { settings, requests, tickets, longestQueue } = summary;
  const rates = (values: readonly number[]) => values.map((value) => (value * 1_000) / stepMs);
  const stack = (name: Counted) => ({ ...counted[name], values: rates(counts[name]) });
  const busiest = Math.max(0, ...rates(counts.first.map((first, step) => first + (counts.again[step] ?? 0))));
  const rejected = rejectedOutcomes
    .filter((outcome) => requests.answered[outcome] > 0)
    .map((outcome) => text`${requests.answered[outcome]} ${outcomeNames[outcome]}`);
  const drain = { name: text`drain ${settings.drain}/s`, value: settings.drain };
  return [
    {
      id: 'arrivals',
      title: 'Requests per second',
      description: text`${requests.sent} requests, ${Math.round(busiest)} per second at the most, ${requests.again} of them by buyers who came again.`,
      stacks: [stack('first'), stack('again')],
      limit: drain,
    },
    {
      id: 'rejections',
      title: 'Rejections per second, by reason',
      description: `Rejected requests: ${rejected.join(', ') || 'none'}.`,
      stacks: rejectedOutcomes.map(stack),
    },
    {
      id: 'queue',
      title: 'Queue length',
      description: text`The queue held ${longestQueue} at its longest, of at most ${settings.queue}.`,
      stacks: [],
      line: { name: 'waiting and running', points: samples.map(({ atMs, queue }) => ({ atMs, value: queue })) },
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
