// What one sees while it runs: a bar of the phase, and a line with what happens behind it. On stderr, while that is a
// terminal; otherwise nothing.
import { count, duration, paint } from '../shared/terminal.ts';
import { refusedOutcomes } from './outcome.ts';
import type { Progress } from './run.ts';

const BAR_WIDTH = 28;
const QUEUE_WIDTH = 12;
const REDRAW_MS = 100;

export interface Display {
  /** Cheap: call it as often as there is news. */
  update(progress: Progress): void;
  /** Removes the display; what comes next starts on a clean line. */
  stop(): void;
}

export function createDisplay(stream: NodeJS.WriteStream = process.stderr): Display {
  if (!stream.isTTY) return { update: () => {}, stop: () => {} };
  const startedAt = performance.now();
  let latest: Progress | undefined;
  const draw = () => {
    if (!latest) return;
    const lines = [phaseLine(latest, performance.now() - startedAt, stream), booksLine(latest, stream)];
    // Without wrapping: a line that took two rows would not be found again.
    stream.write(`\r\x1b[J\x1b[?7l${lines.join('\n')}\x1b[?7h\r\x1b[1A`);
  };
  const timer = setInterval(draw, REDRAW_MS);
  return {
    update: (progress) => {
      latest = progress;
    },
    stop: () => {
      clearInterval(timer);
      stream.write('\r\x1b[J');
    },
  };
}

const bar = (done: number, total: number, width: number, colour: 'cyan' | 'yellow', stream: NodeJS.WriteStream) => {
  const filled = total === 0 ? 0 : Math.round(Math.min(1, done / total) * width);
  return `${paint(colour, '━'.repeat(filled), stream)}${paint('dim', '━'.repeat(width - filled), stream)}`;
};

function phaseLine({ phase, done, total }: Progress, ms: number, stream: NodeJS.WriteStream): string {
  const shown = bar(done, total, BAR_WIDTH, 'cyan', stream);
  return `${phase.padEnd(23)} ${shown} ${count(done)}/${count(total)}  ${duration(ms)}`;
}

function booksLine({ sale, tally }: Progress, stream: NodeJS.WriteStream): string {
  const { queue, counts } = sale;
  const refused = refusedOutcomes.reduce((sum, outcome) => sum + tally.countOf(outcome), 0);
  const shown = bar(queue.length, queue.cap, QUEUE_WIDTH, 'yellow', stream);
  return `queue ${shown} ${count(queue.length)}/${count(queue.cap)}  admitted ${count(counts.admitted)}  ordered ${count(counts.ordered)}  refused ${count(refused)}`;
}
