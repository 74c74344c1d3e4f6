// Bars, lines and areas over time, drawn as SVG: panels below each other, which share the time axis.
import { type Color, type Picture, svgDocument } from './svg.ts';

/** Of one panel, in user units. */
const WIDTH = 860;
const HEIGHT = 178;
const PLOT = { left: 66, right: 846, top: 40, bottom: 150 };

const LINE_COLOR: Color = 'blue';

interface Stack {
  readonly name: string;
  readonly color: Color;
  /** One per step. */
  readonly values: readonly number[];
}

export interface Panel {
  readonly id: string;
  readonly title: string;
  /** The chart in words, for screen readers and captions. */
  readonly description: string;
  /** Bars, the first at the bottom. */
  readonly stacks: readonly Stack[];
  /** A line with the area below it. */
  readonly line?: { readonly name: string; readonly points: readonly Point[] };
  /** A level to compare with. */
  readonly limit?: { readonly name: string; readonly value: number };
}

interface Point {
  readonly atMs: number;
  readonly value: number;
}

export interface TimeAxis {
  readonly fromMs: number;
  readonly toMs: number;
  readonly stepMs: number;
}

/** One panel as an SVG element, for a page with the style. All its texts are our own, so nothing needs escaping. */
export const panelElement = (panel: Panel, axis: TimeAxis): string =>
  `<svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="${panel.id}-title ${panel.id}-desc">
<title id="${panel.id}-title">${panel.title}</title>
<desc id="${panel.id}-desc">${panel.description}</desc>
${drawPanel(panel, axis)}
</svg>`;

/** All panels as one document. */
export const panelsDocument = (
  { title, subtitle }: Pick<Picture, 'title' | 'subtitle'>,
  panels: readonly Panel[],
  axis: TimeAxis,
): string =>
  svgDocument({
    title,
    subtitle,
    description: panels.map(({ description }) => description).join(' '),
    width: WIDTH,
    height: panels.length * HEIGHT,
    body: panels
      .map((panel, index) => `<g transform="translate(0 ${index * HEIGHT})">\n${drawPanel(panel, axis)}\n</g>`)
      .join('\n'),
  });

function drawPanel({ title, stacks, line, limit }: Panel, axis: TimeAxis): string {
  const heights = totals(stacks);
  const highest = Math.max(
    1,
    ...heights,
    ...(line?.points.map(({ value }) => value) ?? []),
    stacks.length === 0 || (limit?.value ?? 0) < 10 * Math.max(...heights) ? (limit?.value ?? 0) : 0,
  );
  const ticks = niceTicks(highest, 3);
  const top = ticks.at(-1) ?? highest;
  const x = (ms: number) =>
    round(PLOT.left + ((PLOT.right - PLOT.left) * (ms - axis.fromMs)) / (axis.toMs - axis.fromMs));
  const y = (value: number) => round(PLOT.bottom - ((PLOT.bottom - PLOT.top) * value) / top);
  return [
    `<text class="heading" x="12" y="20">${title}</text>`,
    legend(stacks, line, limit),
    ...ticks.map(
      (value) =>
        `<path class="grid" d="M${PLOT.left} ${y(value)}H${PLOT.right}"/><text class="tick" x="${PLOT.left - 8}" y="${y(value) + 4}" text-anchor="end">${value.toLocaleString('en-GB')}</text>`,
    ),
    ...timeTicks(axis).map(
      (ms) =>
        `<path class="axis" d="M${x(ms)} ${PLOT.bottom}v4"/><text class="tick" x="${x(ms)}" y="${PLOT.bottom + 17}" text-anchor="middle">${ms / 1_000} s</text>`,
    ),
    ...bars(stacks, axis, x, y),
    line ? area(line, x, y) : '',
    `<path class="axis" d="M${PLOT.left} ${PLOT.bottom}H${PLOT.right}"/>`,
    limit && limit.value <= top ? `<path class="limit" d="M${PLOT.left} ${y(limit.value)}H${PLOT.right}"/>` : '',
  ]
    .filter((part) => part !== '')
    .join('\n');
}

const round = (value: number): number => Math.round(value * 10) / 10;

const totals = (stacks: readonly Stack[]): number[] =>
  (stacks[0]?.values ?? []).map((_, step) => stacks.reduce((sum, { values }) => sum + (values[step] ?? 0), 0));

type Scale = (value: number) => number;

/** One path per stack, so hundreds of bars take a few kilobytes. */
function bars(stacks: readonly Stack[], { fromMs, stepMs }: TimeAxis, x: Scale, y: Scale): string[] {
  const below: number[] = (stacks[0]?.values ?? []).map(() => 0);
  return stacks.map(({ color, values }) => {
    const parts = values.map((value, step) => {
      if (value === 0) return '';
      const from = below[step] ?? 0;
      below[step] = from + value;
      const left = x(fromMs + step * stepMs);
      const right = x(fromMs + (step + 1) * stepMs);
      const gap = right - left > 4 ? 1 : 0;
      return `M${left} ${y(from)}V${y(from + value)}H${round(right - gap)}V${y(from)}Z`;
    });
    return `<path class="${color}" d="${parts.join('')}"/>`;
  });
}

function area({ points }: NonNullable<Panel['line']>, x: Scale, y: Scale): string {
  const [first] = points;
  const last = points.at(-1);
  if (!first || !last) return '';
  const path = points.map(({ atMs, value }) => `${x(atMs)} ${y(value)}`).join('L');
  return `<path class="${LINE_COLOR} area" d="M${x(first.atMs)} ${y(0)}L${path}L${x(last.atMs)} ${y(0)}Z"/>
<path class="line" d="M${path}"/>`;
}

/** Right of the title, from the right edge inwards. It also names a limit that is off the scale. */
function legend(stacks: readonly Stack[], line: Panel['line'], limit: Panel['limit']): string {
  const entries = [
    ...stacks.filter(({ values }) => values.some((value) => value > 0)),
    ...(line ? [{ name: line.name, color: LINE_COLOR }] : []),
    ...(limit ? [{ name: limit.name, color: undefined }] : []),
  ];
  let right = PLOT.right;
  const parts = entries.toReversed().map(({ name, color }) => {
    right -= name.length * 6.4 + 30;
    const mark =
      color === undefined
        ? `<path class="limit" d="M${round(right)} 16h12"/>`
        : `<rect class="${color}" x="${round(right)}" y="10" width="12" height="12" rx="2"/>`;
    return `${mark}<text class="tick" x="${round(right + 17)}" y="20">${name}</text>`;
  });
  return parts.join('');
}

/** From 0, at round values, the last one not below `max`. */
function niceTicks(max: number, atLeast: number): number[] {
  const rough = max / atLeast;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, ([5, 2, 1].find((factor) => factor * power <= rough) ?? 1) * power);
  return Array.from({ length: Math.ceil(max / step) + 1 }, (_, index) => index * step);
}

const TIME_STEPS_MS = [1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 3_600_000];
const MOST_TIME_TICKS = 14;

function timeTicks({ fromMs, toMs }: TimeAxis): number[] {
  const step = TIME_STEPS_MS.find((each) => (toMs - fromMs) / each <= MOST_TIME_TICKS) ?? toMs - fromMs;
  const first = Math.ceil(fromMs / step) * step;
  return Array.from({ length: Math.floor((toMs - first) / step) + 1 }, (_, index) => first + index * step);
}
