// The comparison as a picture: one file without anything outside it, readable on light and on dark paper.
import { milliseconds } from '../shared/terminal.ts';
import type { Comparison, Way } from './run.ts';

const WIDTH = 760;
const LEFT = 190;
/** Where the longest bar ends; its value stands behind it. */
const RIGHT = 660;
const TOP = 92;
/** The height of one way: two bars and the gap to the next way. */
const GROUP = 76;
const BAR = 22;

const style = `
  .paper { fill: #ffffff; }
  text { font: 14px system-ui, sans-serif; fill: #1f2328; }
  .title { font-size: 18px; font-weight: 600; }
  .way { font-weight: 600; }
  .dim { fill: #59636e; font-size: 12px; }
  .answer { fill: #1a7f37; }
  .completed { fill: #54aeff; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; }
    text { fill: #f0f6fc; }
    .dim { fill: #9198a1; }
    .answer { fill: #3fb950; }
    .completed { fill: #1f6feb; }
  }`;

/** An SVG document. Every text in it is our own, so nothing needs escaping. */
export function svgOf({ workMs, clients, ways }: Comparison): string {
  const longest = Math.max(...ways.flatMap(({ answerMs, completedMs }) => [answerMs.p50, completedMs.p50]));
  const scale = (ms: number) => Math.max(1, Math.round(((RIGHT - LEFT) * ms) / longest));
  const height = TOP + ways.length * GROUP + 8;
  const title = `The same order, with ${workMs} ms of work in each of its three steps`;
  const described = ways.map(
    ({ way, answerMs, completedMs }) =>
      `${way}: answered in ${milliseconds(answerMs.p50)}, completed in ${milliseconds(completedMs.p50)}`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title desc">
<title id="title">${title}</title>
<desc id="desc">${described.join('; ')}.</desc>
<style>${style}
</style>
<rect class="paper" width="100%" height="100%" rx="8"/>
<text class="title" x="24" y="36">${title}</text>
<rect class="answer" x="24" y="54" width="12" height="12" rx="2"/>
<text class="dim" x="42" y="65">until it is answered (p50)</text>
<rect class="completed" x="200" y="54" width="12" height="12" rx="2"/>
<text class="dim" x="218" y="65">until it is completed (p50)</text>
${ways.map((way, index) => group(way, TOP + index * GROUP, clients, scale)).join('\n')}
</svg>
`;
}

function group(
  { way, answerMs, completedMs, completedPerSecond }: Way,
  top: number,
  clients: number,
  scale: (ms: number) => number,
): string {
  const bar = (kind: 'answer' | 'completed', ms: number, y: number) =>
    `<rect class="${kind}" x="${LEFT}" y="${y}" width="${scale(ms)}" height="${BAR}" rx="2"/>
<text x="${LEFT + scale(ms) + 8}" y="${y + 16}">${milliseconds(ms)}</text>`;
  return `<text class="way" x="24" y="${top + 17}">${way}</text>
<text class="dim" x="24" y="${top + 40}">${clients} clients: ${Math.round(completedPerSecond)} orders/s</text>
${bar('answer', answerMs.p50, top)}
${bar('completed', completedMs.p50, top + BAR + 4)}`;
}
