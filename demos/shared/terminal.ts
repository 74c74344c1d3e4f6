// What the commands show: colours (none with NO_COLOR or into a file), columns, a progress bar. Results go to stdout,
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

/** Text from elsewhere (a server, a file), harmless to a terminal: no control characters, so no escape sequences. */
export const printable = (text: string): string => text.replace(/\p{Cc}/gu, '\uFFFD');

/** 1234567 as `1,234,567`. */
export const count = (value: number): string => value.toLocaleString('en-GB');

/** A duration in milliseconds, short: `41 ms`, `1.25 s`, `3 min 20 s`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** Pads the cells of each column to the same width; the last column is left as it is. */
export function columns(rows: readonly (readonly string[])[], indent = '  '): string[] {
  const width = (text: string) => stripVTControlCharacters(text).length;
  const columnCount = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columnCount }, (_, i) => Math.max(...rows.map((row) => width(row[i] ?? ''))));
  return rows.map((row) => {
    const cells = row.map((cell, i) => cell + ' '.repeat((widths[i] ?? 0) - width(cell)));
    return indent + cells.join('  ').trimEnd();
  });
}

export interface Progress {
  /** Says how much is done so far. Cheap: call it as often as there is news. */
  update(done: number): void;
  /** Removes the bar; what comes next starts on a clean line. */
  stop(): void;
}

const BAR_WIDTH = 28;
const REDRAW_MS = 100;

/** A progress bar on stderr while that is a terminal, otherwise nothing. Without a total, a count. */
export function progressBar(label: string, total?: number, stream: NodeJS.WriteStream = process.stderr): Progress {
  if (!stream.isTTY) return { update: () => {}, stop: () => {} };
  const startedAt = performance.now();
  let done = 0;
  const bar = () => {
    if (total === undefined) return count(done);
    const filled = total === 0 ? BAR_WIDTH : Math.round(Math.min(1, done / total) * BAR_WIDTH);
    const rest = paint('dim', '━'.repeat(BAR_WIDTH - filled), stream);
    return `${paint('cyan', '━'.repeat(filled), stream)}${rest} ${count(done)}/${count(total)}`;
  };
  const draw = () => stream.write(`\r\x1b[K${label} ${bar()}  ${duration(performance.now() - startedAt)}`);
  draw();
  const timer = setInterval(draw, REDRAW_MS);
  return {
    update: (nowDone) => {
      done = nowDone;
    },
    stop: () => {
      clearInterval(timer);
      stream.write('\r\x1b[K');
    },
  };
}
