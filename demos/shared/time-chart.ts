// Bars, lines and areas over time, drawn as SVG: panels below each other, which share the time axis.
import { type Color, svgDocument } from './svg.ts';
import { count } from './terminal.ts';

/** The sizes of one panel, in user units. */
const WIDTH = 860;
const HEIGHT = 178;
const PLOT = { left: 66, right: 846, top: 40, bottom: 150 };

const LINE_COLOR: Color = 'blue';

export interface Panel {
  readonly id: string;
  readonly title: string;
  /** The chart in words, for screen readers and captions. */
  readonly description: string;
  /** Bars, the first at the bottom, with a value for each step. */
  readonly stacks: readonly { readonly name: string; readonly color: Color; readonly values: readonly number[] }[];
  /** A line with the area below it. */
  readonly line?: { readonly name: string; readonly points: readonly { atMs: number; value: number }[] };
  /** A level to compare with. */
  readonly limit?: { readonly name: string; readonly value: number };
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
  head: { readonly title: string; readonly subtitle: string },
  panels: readonly Panel[],
  axis: TimeAxis,
): string =>
  svgDocument({
    ...head,
    description: panels.map(({ description }) => description).join(' '),
    width: WIDTH,
    height: panels.length * HEIGHT,
    body: panels
      .map((panel, index) => `<g transform="translate(0 ${index * HEIGHT})">\n${drawPanel(panel, axis)}\n</g>`)
      .join('\n'),
  });

function drawPanel(panel: Panel, axis: TimeAxis): string {
  const { title, stacks, line, limit } = panel;
  const steps = stacks[0]?.values ?? [];
  const highestBar = Math.max(
    0,
    ...steps.map((_, step) => stacks.reduce((sum, { values }) => sum + (values[step] ?? 0), 0)),
  );
  // A limit far above the bars is named in the legend only, so that the bars stay visible.
  const shownLimit = limit && (stacks.length === 0 || limit.value < 10 * highestBar) ? limit.value : 0;
  const highest = Math.max(1, highestBar, shownLimit, ...(line?.points.map(({ value }) => value) ?? []));
  const ticks = niceTicks(highest);
  const top = ticks.at(-1) ?? highest;
  const { left, right, bottom } = PLOT;
  const x = (ms: number) => round(left + ((right - left) * (ms - axis.fromMs)) / (axis.toMs - axis.fromMs));
  const y = (value: number) => round(bottom - ((bottom - PLOT.top) * value) / top);
  return [
    `<text class="heading" x="12" y="20">${title}</text>`,
    legend(panel),
    ...ticks.map(
      (value) =>
        `<path class="grid" d="M${left} ${y(value)}H${right}"/><text class="tick" x="${left - 8}" y="${y(value) + 4}" text-anchor="end">${count(value)}</text>`,
    ),
    ...timeTicks(axis).map(
      (ms) =>
        `<path class="axis" d="M${x(ms)} ${bottom}v4"/><text class="tick" x="${x(ms)}" y="${bottom + 17}" text-anchor="middle">${ms / 1_000} s</text>`,
    ),
    ...bars(stacks, axis, x, y),
    ...area(line?.points ?? [], x, y),
    `<path class="axis" d="M${left} ${bottom}H${right}"/>`,
    limit && limit.value <= top ? `<path class="limit" d="M${left} ${y(limit.value)}H${right}"/>` : '',
  ]
    .filter((part) => part !== '')
    .join('\n');
}

const round = (value: number): number => Math.round(value * 10) / 10;

type Scale = (value: number) => number;

/** One path per stack, so hundreds of bars take a few kilobytes. */
function bars(stacks: Panel['stacks'], { fromMs, stepMs }: TimeAxis, x: Scale, y: Scale): string[] {
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

function area(points: NonNullable<Panel['line']>['points'], x: Scale, y: Scale): string[] {
  const [first] = points;
  const last = points.at(-1);
  if (!first || !last) return [];
  const path = points.map(({ atMs, value }) => `${x(atMs)} ${y(value)}`).join('L');
  return [
    `<path class="${LINE_COLOR} area" d="M${x(first.atMs)} ${y(0)}L${path}L${x(last.atMs)} ${y(0)}Z"/>`,
    `<path class="line" d="M${path}"/>`,
  ];
}

/** Right of the title, from the right edge inwards. It also names a limit that is off the scale. */
function legend({ stacks, line, limit }: Panel): string {
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

/** From 0, at round values, at least three steps, the last one not below `max`. */
function niceTicks(max: number): number[] {
  const rough = max / 3;
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
