// An outage as a picture: answers, what waited, and completions, below each other on one time axis.
import { chartStyle } from '../flash-sale/report/charts.ts';
import { drawPanel, HEIGHT, type Panel, WIDTH } from '../flash-sale/report/panel.ts';
import { count, duration } from '../shared/terminal.ts';
import { type Summary, totalsOf } from './summary.ts';

const HEAD = 66;

/** An SVG document without anything outside it. Every text in it is our own, so nothing needs escaping. */
export function svgOf(summary: Summary): string {
  const { settings, seconds, goneMs, readyMs, caughtUpAfterMs } = summary;
  const { service, rate } = settings;
  const axis = { fromMs: 0, toMs: Math.max(1, seconds.length) * 1_000, stepMs: 1_000 };
  const panels = panelsOf(summary);
  const height = HEAD + panels.length * HEIGHT + 8;
  const title = `${count(rate)} orders a second, ${service} away for ${duration(readyMs - goneMs)}`;
  const back =
    caughtUpAfterMs === null ? 'it did not catch up' : `it caught up ${duration(caughtUpAfterMs)} after its start`;
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
<text class="tick" x="12" y="50">${summary.shape}; ${back}</text>
${panels.map((panel, index) => `<g transform="translate(0 ${HEAD + index * HEIGHT})">\n${drawPanel(panel, axis)}\n</g>`).join('\n')}
</svg>
`;
}

function panelsOf(summary: Summary): Panel[] {
  const { settings, seconds, goneMs, readyMs, longestBacklog } = summary;
  const { service } = settings;
  const { orders, accepted } = totalsOf(summary);
  /** The answers of each second, of those that are to be shown. */
  const answersWhere = (shown: (status: string, away: boolean) => boolean) =>
    seconds.map(({ second, answers }) => {
      const middleMs = (second - 0.5) * 1_000;
      const away = middleMs >= goneMs && middleMs < readyMs;
      return Object.entries(answers).reduce((sum, [status, times]) => sum + (shown(status, away) ? times : 0), 0);
    });
  const is2xx = (status: string) => status.startsWith('2');
  return [
    {
      id: 'answers',
      title: 'Answers per second',
      description: `${count(accepted)} of ${count(orders)} orders were answered 2xx.`,
      stacks: [
        {
          name: `2xx, ${service} runs`,
          className: 'orders',
          values: answersWhere((status, away) => is2xx(status) && !away),
        },
        {
          name: `2xx, ${service} is away`,
          className: 'queue-full',
          values: answersWhere((status, away) => is2xx(status) && away),
        },
        { name: 'others', className: 'overloaded', values: answersWhere((status) => !is2xx(status)) },
      ],
    },
    {
      id: 'waiting',
      title: `Orders that wait for ${service}`,
      description: `${count(longestBacklog)} orders waited for ${service} at the most.`,
      stacks: [],
      line: {
        name: 'waiting',
        className: 'queue',
        points: seconds.map(({ second, waiting }) => ({ atMs: second * 1_000, value: waiting[service] })),
      },
    },
    {
      id: 'completed',
      title: 'Completed orders per second',
      description: 'Orders whose steps were all done, by the second in which they came to that.',
      stacks: [{ name: 'completed', className: 'arrivals', values: seconds.map(({ completed }) => completed) }],
    },
  ];
}
