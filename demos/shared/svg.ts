// Self-contained pictures: one palette for light and dark screens, and the frame of an SVG document.

/** The palette by name, for light and dark screens. Print always uses the light one. */
const colors = {
  blue: ['#0969da', '#4493f8'],
  sky: ['#80ccff', '#a5d6ff'],
  yellow: ['#d4a72c', '#d29922'],
  purple: ['#8250df', '#ab7df8'],
  grey: ['#8c959f', '#656c76'],
  orange: ['#bc4c00', '#db6d28'],
  green: ['#1a7f37', '#3fb950'],
} as const;
export type Color = keyof typeof colors;

const fills = (dark: 0 | 1) =>
  Object.entries(colors)
    .map(([name, shades]) => `.chart .${name} { fill: ${shades[dark]}; }`)
    .join('\n    ');

export const chartStyle = `
    .chart text { font: 12px system-ui, sans-serif; fill: #1f2328; }
    .chart .title { font-size: 17px; font-weight: 600; }
    .chart .heading { font-size: 14px; font-weight: 600; }
    .chart .tick { font-size: 11px; fill: #59636e; }
    .chart .grid { stroke: #d1d9e0; stroke-width: 0.5; fill: none; }
    .chart .axis { stroke: #59636e; stroke-width: 1; fill: none; }
    .chart .limit { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 5 3; fill: none; }
    .chart .area { fill-opacity: 0.25; }
    .chart .line { stroke: ${colors.blue[0]}; stroke-width: 1.5; fill: none; }
    .chart .paper { fill: #ffffff; }
    ${fills(0)}
  @media screen and (prefers-color-scheme: dark) {
    .chart text { fill: #f0f6fc; }
    .chart .tick { fill: #9198a1; }
    .chart .grid { stroke: #3d444d; }
    .chart .axis { stroke: #9198a1; }
    .chart .limit { stroke: #f85149; }
    .chart .line { stroke: ${colors.blue[1]}; }
    .chart .paper { fill: #0d1117; }
    ${fills(1)}
  }`;

interface Picture {
  readonly title: string;
  /** Below the title. */
  readonly subtitle: string;
  /** The chart in words, for screen readers and captions. */
  readonly description: string;
  /** In user units. */
  readonly width: number;
  /** The height of the body, without the head. */
  readonly height: number;
  readonly body: string;
}

const HEAD = 66;

/** A self-contained SVG document. All its texts are our own, so nothing needs escaping. */
export function svgDocument({ title, subtitle, description, width, height: below, body }: Picture): string {
  const height = HEAD + below + 8;
  return `<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title desc">
<title id="title">${title}</title>
<desc id="desc">${description}</desc>
<style>${chartStyle}
</style>
<rect class="paper" width="100%" height="100%" rx="8"/>
<text class="title" x="12" y="30">${title}</text>
<text class="tick" x="12" y="50">${subtitle}</text>
<g transform="translate(0 ${HEAD})">
${body}
</g>
</svg>
`;
}
