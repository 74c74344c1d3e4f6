// The comparison as a picture: two bars for each way, to the same scale.
import { type Color, svgDocument } from '../shared/svg.ts';
import { milliseconds } from '../shared/terminal.ts';
import type { Comparison, Way } from './run.ts';

const WIDTH = 760;
const LEFT = 190;
/** Where the longest bar ends; its value stands behind it. */
const RIGHT = 660;
/** The legend above the bars. */
const TOP = 26;
/** The height of one way: two bars and the gap to the next way. */
const GROUP = 76;
const BAR = 22;

const colors: Readonly<Record<'answered' | 'completed', Color>> = { answered: 'green', completed: 'blue' };

export function svgOf({ workMs, clients, ways }: Comparison): string {
  const longest = Math.max(...ways.flatMap(({ answerMs, completedMs }) => [answerMs.p50, completedMs.p50]));
  const scale = (ms: number) => Math.max(1, Math.round(((RIGHT - LEFT) * ms) / longest));
  const described = ways.map(
    ({ way, answerMs, completedMs }) =>
      `${way}: answered in ${milliseconds(answerMs.p50)}, completed in ${milliseconds(completedMs.p50)}`,
  );
  return svgDocument({
    title: `The same order, with ${workMs} ms of work in each of its three steps`,
    subtitle: `until it is answered and until it is completed (p50), and what ${clients} clients at once get completed`,
    description: `${described.join('; ')}.`,
    width: WIDTH,
    height: TOP + ways.length * GROUP,
    body: [legend(), ...ways.map((way, index) => group(way, TOP + index * GROUP, scale))].join('\n'),
  });
}

const legend = () =>
  Object.entries(colors)
    .map(
      ([name, color], index) =>
        `<rect class="${color}" x="${LEFT + index * 100}" y="0" width="12" height="12" rx="2"/><text class="tick" x="${LEFT + 18 + index * 100}" y="10">${name}</text>`,
    )
    .join('\n');

function group({ way, answerMs, completedMs, completedPerSecond }: Way, top: number, scale: (ms: number) => number) {
  const bar = (color: Color, ms: number, y: number) =>
    `<rect class="${color}" x="${LEFT}" y="${y}" width="${scale(ms)}" height="${BAR}" rx="2"/>
<text x="${LEFT + scale(ms) + 8}" y="${y + 16}">${milliseconds(ms)}</text>`;
  return `<text class="heading" x="12" y="${top + 17}">${way}</text>
<text class="tick" x="12" y="${top + 40}">${Math.round(completedPerSecond)} orders/s</text>
${bar(colors.answered, answerMs.p50, top)}
${bar(colors.completed, completedMs.p50, top + BAR + 4)}`;
}
