// The comparison as an SVG chart: two bars for each strategy, to the same scale.
import { type Color, svgDocument } from '../shared/svg.ts';
import { milliseconds } from '../shared/terminal.ts';
import type { Comparison, Measurement } from './run.ts';

const WIDTH = 760;
const LEFT = 190;
/** The end of the longest bar; its value is written after it. */
const RIGHT = 660;
/** The legend above the bars. */
const TOP = 26;
/** The height of one strategy: two bars and a gap. */
const GROUP = 76;
const BAR = 22;

const colors: Readonly<Record<'response' | 'completed', Color>> = { response: 'green', completed: 'blue' };

export function svgOf({ workMs, clients, strategies }: Comparison): string {
  const longest = Math.max(...strategies.flatMap(({ responseMs, completedMs }) => [responseMs.p50, completedMs.p50]));
  const scale = (ms: number) => Math.max(1, Math.round(((RIGHT - LEFT) * ms) / longest));
  const described = strategies.map(
    ({ strategy, responseMs, completedMs }) =>
      `${strategy}: response in ${milliseconds(responseMs.p50)}, completed in ${milliseconds(completedMs.p50)}`,
  );
  return svgDocument({
    title: `The same order, with ${workMs} ms of work in each of its three steps`,
    subtitle: `time to the response and to completion (p50), and orders per second with ${clients} clients`,
    description: `${described.join('; ')}.`,
    width: WIDTH,
    height: TOP + strategies.length * GROUP,
    body: [legend(), ...strategies.map((strategy, index) => group(strategy, TOP + index * GROUP, scale))].join('\n'),
  });
}

const legend = () =>
  Object.entries(colors)
    .map(
      ([name, color], index) =>
        `<rect class="${color}" x="${LEFT + index * 100}" y="0" width="12" height="12" rx="2"/><text class="tick" x="${LEFT + 18 + index * 100}" y="10">${name}</text>`,
    )
    .join('\n');

function group(
  { strategy, responseMs, completedMs, completedPerSecond }: Measurement,
  top: number,
  scale: (ms: number) => number,
) {
  const bar = (color: Color, ms: number, y: number) =>
    `<rect class="${color}" x="${LEFT}" y="${y}" width="${scale(ms)}" height="${BAR}" rx="2"/>
<text x="${LEFT + scale(ms) + 8}" y="${y + 16}">${milliseconds(ms)}</text>`;
  return `<text class="heading" x="12" y="${top + 17}">${strategy}</text>
<text class="tick" x="12" y="${top + 40}">${Math.round(completedPerSecond)} orders/s</text>
${bar(colors.response, responseMs.p50, top)}
${bar(colors.completed, completedMs.p50, top + BAR + 4)}`;
}
