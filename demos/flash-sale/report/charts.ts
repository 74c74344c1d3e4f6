// The charts of a sale, below each other on one time axis: what comes in, what is refused, what waits, what goes out.
import { count } from '../../shared/terminal.ts';
import { outcomeNames, refusedOutcomes } from '../outcome.ts';
import type { Series } from '../series.ts';
import type { Summary } from '../summary.ts';
import { perSecond, seconds } from './figures.ts';
import { drawPanel, HEIGHT, type Panel, WIDTH } from './panel.ts';

/** Colours on light paper; in the dark, others. Paper is light, whatever the screen that prints it. */
export const chartStyle = `
  .chart text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .chart .heading { font-size: 14px; font-weight: 600; }
  .chart .tick { font-size: 11px; fill: #59636e; }
  .chart .grid { stroke: #d1d9e0; stroke-width: 0.5; fill: none; }
  .chart .axis { stroke: #59636e; stroke-width: 1; fill: none; }
  .chart .limit { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 5 3; fill: none; }
  .chart .arrivals { fill: #0969da; }
  .chart .returns { fill: #80ccff; }
  .chart .queue-full { fill: #d4a72c; }
  .chart .sold-out { fill: #8250df; }
  .chart .not-open { fill: #8c959f; }
  .chart .overloaded { fill: #bc4c00; }
  .chart .orders { fill: #1a7f37; }
  .chart .queue { fill: #0969da; }
  .chart .area { fill-opacity: 0.25; }
  .chart .line { stroke: #0969da; stroke-width: 1.5; fill: none; }
  @media screen and (prefers-color-scheme: dark) {
    .chart text { fill: #f0f6fc; }
    .chart .tick { fill: #9198a1; }
    .chart .grid { stroke: #3d444d; }
    .chart .axis { stroke: #9198a1; }
    .chart .limit { stroke: #f85149; }
    .chart .arrivals { fill: #4493f8; }
    .chart .returns { fill: #a5d6ff; }
    .chart .queue-full { fill: #d29922; }
    .chart .sold-out { fill: #ab7df8; }
    .chart .not-open { fill: #656c76; }
    .chart .overloaded { fill: #db6d28; }
    .chart .orders { fill: #3fb950; }
    .chart .queue { fill: #4493f8; }
    .chart .line { stroke: #4493f8; }
  }`;

export function panelsOf(summary: Summary, series: Series): Panel[] {
  const { settings, requests, tickets, longestQueue } = summary;
  const { steps, stepMs, samples } = series;
  const rates = (values: readonly number[]) => values.map((value) => (value * 1_000) / stepMs);
  const busiest = Math.max(0, ...rates(steps.map(({ arrivals, returns }) => arrivals + returns)));
  const refused = refusedOutcomes
    .filter((outcome) => requests.answered[outcome] > 0)
    .map((outcome) => `${count(requests.answered[outcome])} ${outcomeNames[outcome]}`);
  const drain = { name: `drain ${count(settings.drain)}/s`, value: settings.drain };
  return [
    {
      id: 'arrivals',
      title: 'Requests per second',
      description: `${count(requests.sent)} requests, ${count(Math.round(busiest))} per second at the most, ${count(requests.again)} of them by buyers who came again.`,
      stacks: [
        { name: 'first attempt', className: 'arrivals', values: rates(steps.map(({ arrivals }) => arrivals)) },
        { name: 'came again', className: 'returns', values: rates(steps.map(({ returns }) => returns)) },
      ],
      limit: drain,
    },
    {
      id: 'refusals',
      title: 'Refusals per second, by reason',
      description: `Refused requests: ${refused.join(', ') || 'none'}.`,
      stacks: refusedOutcomes.map((outcome) => ({
        name: outcomeNames[outcome],
        className: outcome,
        values: rates(steps.map((step) => step.refused[outcome])),
      })),
    },
    {
      id: 'queue',
      title: 'Queue length',
      description: `The queue held ${count(longestQueue)} at its longest, of at most ${count(settings.queue)}.`,
      stacks: [],
      line: {
        name: 'waiting and running',
        className: 'queue',
        points: samples.map(({ atMs, queue }) => ({ atMs, value: queue })),
      },
      limit: { name: `cap ${count(settings.queue)}`, value: settings.queue },
    },
    {
      id: 'orders',
      title: 'Orders per second',
      description: `${count(tickets.ordered)} orders at ${perSecond(summary.ordersPerSecond)}; the queue drains at ${count(settings.drain)} per second.`,
      stacks: [{ name: 'orders', className: 'orders', values: rates(steps.map(({ orders }) => orders)) }],
      limit: drain,
    },
  ];
}

/** One chart as an SVG element for a page that has the style. */
export const chartOf = (panel: Panel, series: Series): string =>
  `<svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="${panel.id}-title ${panel.id}-desc">
<title id="${panel.id}-title">${panel.title}</title>
<desc id="${panel.id}-desc">${panel.description}</desc>
${drawPanel(panel, series)}
</svg>`;

const HEAD = 66;

/** All charts as one SVG document, without anything outside it. */
export function svgOf(summary: Summary, series: Series): string {
  const { settings } = summary;
  const panels = panelsOf(summary, series);
  const height = HEAD + panels.length * HEIGHT + 8;
  const title = `${count(settings.buyers)} buyers, ${count(settings.stock)} units, a queue of ${count(settings.queue)} that drains at ${count(settings.drain)} per second`;
  const subtitle = `${count(summary.tickets.ordered)} ordered, ${count(settings.buyers - summary.buyers.admitted)} buyers refused; steps of ${seconds(series.stepMs)} s, from the opening`;
  return `<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title desc">
<title id="title">${title}</title>
<desc id="desc">${panels.map(({ description }) => description).join(' ')}</desc>
<style>
  .paper { fill: #ffffff; }
  .chart .title { font-size: 17px; font-weight: 600; }
  @media screen and (prefers-color-scheme: dark) { .paper { fill: #0d1117; } }${chartStyle}
</style>
<rect class="paper" width="100%" height="100%" rx="8"/>
<text class="title" x="12" y="30">${title}</text>
<text class="tick" x="12" y="50">${subtitle}</text>
${panels.map((panel, index) => `<g transform="translate(0 ${HEAD + index * HEIGHT})">\n${drawPanel(panel, series)}\n</g>`).join('\n')}
</svg>
`;
}
