// Output of the commands: colours (none with NO_COLOR or into a file), columns, bars, progress. Results go to stdout,
// everything about the run to stderr, so that `sluice … --json | jq` works with a progress bar on the screen.
import { stripVTControlCharacters, styleText } from 'node:util';

type Format = Parameters<typeof styleText>[0];

export const paint = (format: Format, text: string, stream: NodeJS.WriteStream = process.stdout): string =>
  styleText(format, text, { stream, validateStream: true });

export const print = (line = ''): void => {
  process.stdout.write(`${line}\n`);
};
export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2));
export const note = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/** Makes text from a server or a file safe for a terminal: without control characters there are no escape sequences. */
export const printable = (text: string): string => text.replace(/\p{Cc}/gu, '\uFFFD');

/** 1234567 as `1,234,567`. */
export const count = (value: number): string => value.toLocaleString('en-GB');

/** A template tag for a text whose numbers are shown as `count` does. */
export const text = (parts: TemplateStringsArray, ...values: readonly (string | number)[]): string =>
  String.raw({ raw: parts }, ...values.map((value) => (typeof value === 'number' ? count(value) : value)));

/** A duration in milliseconds, short: `41 ms`, `1.25 s`, `3 min 20 s`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** Milliseconds, with a decimal below 10: `2.9 ms`, `318 ms`. */
export const milliseconds = (ms: number): string => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

/** Pads the cells of each column to the same width. `align` is for all columns but the first. */
export function columns(
  rows: readonly (readonly string[])[],
  { indent = '  ', align = 'left' }: { indent?: string; align?: 'left' | 'right' } = {},
): string[] {
  const width = (text: string) => stripVTControlCharacters(text).length;
  const columnCount = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columnCount }, (_, i) => Math.max(...rows.map((row) => width(row[i] ?? ''))));
  return rows.map((row) => {
    const cells = row.map((cell, i) => {
      const padding = ' '.repeat((widths[i] ?? 0) - width(cell));
      return align === 'right' && i > 0 ? padding + cell : cell + padding;
    });
    return indent + cells.join('  ').trimEnd();
  });
}

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** A bar of `share` times `width` characters, to an eighth of one; a share above 1 is cut. */
export function bar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, share) * width * 8);
  return '█'.repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? '');
}

/** A line of `width` characters with the done part coloured, and both numbers; for stderr. */
export function gauge(done: number, total: number, { width = 28, color = 'cyan' as Format } = {}): string {
  const filled = total === 0 ? 0 : Math.round(Math.min(1, done / total) * width);
  const line = [
    paint(color, '━'.repeat(filled), process.stderr),
    paint('dim', '━'.repeat(width - filled), process.stderr),
  ];
  return `${line.join('')} ${count(done)}/${count(total)}`;
}

const REDRAW_MS = 100;

/**
 * Redraws lines in the same place on stderr, if that is a terminal. `lines` gets the time since the start. Returns a
 * function that removes them, so that further output starts on a clean line.
 */
export function redraw(lines: (ms: number) => readonly string[]): () => void {
  const stream = process.stderr;
  if (!stream.isTTY) return () => {};
  const startedAt = performance.now();
  const draw = () => {
    const shown = lines(performance.now() - startedAt);
    const up = shown.length > 1 ? `\x1b[${shown.length - 1}A` : '';
    // Without wrapping, because redrawing assumes one row per line.
    stream.write(`\r\x1b[J\x1b[?7l${shown.join('\n')}\x1b[?7h\r${up}`);
  };
  draw();
  const timer = setInterval(draw, REDRAW_MS);
  return () => {
    clearInterval(timer);
    stream.write('\r\x1b[J');
  };
}

/** Shows how much of `total` is done while `work` goes on; without a total, a count. `update` is cheap. */
export async function withProgress<T>(
  label: string,
  total: number | undefined,
  work: (update: (done: number) => void) => Promise<T>,
): Promise<T> {
  let done = 0;
  const progress = () => (total === undefined ? count(done) : gauge(done, total));
  const remove = redraw((ms) => [`${label} ${progress()}  ${duration(ms)}`]);
  try {
    return await work((nowDone) => {
      done = nowDone;
    });
  } finally {
    remove();
  }
}
