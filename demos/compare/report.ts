// The comparison for a terminal, as a table and bars, and as an SVG chart. All bars have the same scale.
import { svgDocument } from '../shared/svg.ts';
import { bar, columns, count, milliseconds, paint, text } from '../shared/terminal.ts';
import type { Comparison, Measurement } from './run.ts';

/** The bars of each strategy: medians, with their colours on a terminal and in the chart. */
const bars = [
  { name: 'response', of: 'responseMs', format: 'green', color: 'green' },
  { name: 'completed', of: 'completedMs', format: 'cyan', color: 'blue' },
] as const;

const longestOf = (strategies: readonly Measurement[]) =>
  Math.max(...strategies.flatMap((strategy) => bars.map(({ of }) => strategy[of].p50)));

const titleOf = ({ workMs }: Comparison) => `The same order, with ${workMs} ms of work in each of its three steps`;

/** The length of the longest bar, in characters. */
const BAR_WIDTH = 40;

export function renderComparison(comparison: Comparison): string[] {
  const { orders, clients, strategies } = comparison;
  const head = ['', 'response p50', 'p99', 'completed p50', `${clients} clients`];
  const rows = strategies.map(({ strategy, responseMs, completedMs, completedPerSecond }) => [
    strategy,
    milliseconds(responseMs.p50),
    milliseconds(responseMs.p99),
    milliseconds(completedMs.p50),
    `${count(Math.round(completedPerSecond))} orders/s`,
  ]);
  const longest = longestOf(strategies);
  const barRows = strategies.flatMap((strategy) =>
    bars.map(({ name, of, format }, index) => {
      const ms = strategy[of].p50;
      const share = Math.max(ms / longest, 1 / (8 * BAR_WIDTH)); // even the shortest bar is visible
      return [
        index === 0 ? strategy.strategy : '',
        name,
        `${paint(format, bar(share, BAR_WIDTH))} ${milliseconds(ms)}`,
      ];
    }),
  );
  return [
    text`${titleOf(comparison)}; ${orders} orders for each client.`,
    '',
    ...columns([head.map((cell) => paint('dim', cell)), ...rows], { align: 'right' }),
    '',
    ...columns(barRows),
  ];
}

/** The chart, in user units. */
const WIDTH = 760;
const LEFT = 190;
/** The end of the longest bar; its value is written after it. */
const RIGHT = 660;
/** The legend above the bars. */
const TOP = 26;
/** The height of one strategy: two bars and a gap. */
const GROUP = 76;
const BAR = 22;

export function svgOf(comparison: Comparison): string {
  const { clients, strategies } = comparison;
  const longest = longestOf(strategies);
  const group = ({ strategy, completedPerSecond, ...times }: Measurement, top: number) => {
    const drawn = bars.map(({ of, color }, index) => {
      const ms = times[of].p50;
      const width = Math.max(1, Math.round(((RIGHT - LEFT) * ms) / longest));
      const y = top + index * (BAR + 4);
      return `<rect class="${color}" x="${LEFT}" y="${y}" width="${width}" height="${BAR}" rx="2"/>
<text x="${LEFT + width + 8}" y="${y + 16}">${milliseconds(ms)}</text>`;
    });
    return `<text class="heading" x="12" y="${top + 17}">${strategy}</text>
<text class="tick" x="12" y="${top + 40}">${Math.round(completedPerSecond)} orders/s</text>
${drawn.join('\n')}`;
  };
  const legend = bars.map(
    ({ name, color }, index) =>
      `<rect class="${color}" x="${LEFT + index * 100}" y="0" width="12" height="12" rx="2"/><text class="tick" x="${LEFT + 18 + index * 100}" y="10">${name}</text>`,
  );
  const described = strategies.map(
    (each) => `${each.strategy}: ${bars.map(({ name, of }) => `${name} in ${milliseconds(each[of].p50)}`).join(', ')}`,
  );
  return svgDocument({
    title: titleOf(comparison),
    subtitle: `time to the response and to completion (p50), and orders per second with ${clients} clients`,
    description: `${described.join('; ')}.`,
    width: WIDTH,
    height: TOP + strategies.length * GROUP,
    body: [...legend, ...strategies.map((strategy, index) => group(strategy, TOP + index * GROUP))].join('\n'),
  });
}
