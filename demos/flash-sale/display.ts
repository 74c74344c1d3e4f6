// What one sees while it runs: a bar of the phase, and a line with what happens behind it. On stderr, while that is a
// terminal; otherwise nothing.
import { count, duration, gauge, redraw } from '../shared/terminal.ts';
import { rejectedOutcomes } from './purchase-outcome.ts';
import type { Progress } from './run.ts';

const QUEUE_WIDTH = 12;

export interface Display {
  /** Cheap: call it as often as there is news. */
  update(progress: Progress): void;
  /** Removes the display; what comes next starts on a clean line. */
  stop(): void;
}

export function createDisplay(stream: NodeJS.WriteStream = process.stderr): Display {
  let latest: Progress | undefined;
  const stop = redraw((ms) => (latest ? [phaseLine(latest, ms, stream), booksLine(latest, stream)] : []), stream);
  return {
    update: (progress) => {
      latest = progress;
    },
    stop,
  };
}

const phaseLine = ({ phase, done, total }: Progress, ms: number, stream: NodeJS.WriteStream): string =>
  `${phase.padEnd(23)} ${gauge({ done, total }, stream)}  ${duration(ms)}`;

function booksLine({ sale, tally }: Progress, stream: NodeJS.WriteStream): string {
  const { queue, counts } = sale;
  const rejected = rejectedOutcomes.reduce((sum, outcome) => sum + tally.countOf(outcome), 0);
  const shown = gauge({ done: queue.length, total: queue.cap, width: QUEUE_WIDTH, color: 'yellow' }, stream);
  return `queue ${shown}  admitted ${count(counts.admitted)}  ordered ${count(counts.ordered)}  rejected ${count(rejected)}`;
}
