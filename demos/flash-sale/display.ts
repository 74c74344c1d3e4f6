// The display while a simulation runs: a bar of the phase, and a line with the sale's totals. On stderr if that is a
// terminal.
import { count, duration, gauge, redraw } from '../shared/terminal.ts';
import { rejectedOutcomes } from './purchases.ts';
import type { Progress } from './run.ts';

const QUEUE_WIDTH = 12;

export interface Display {
  /** Cheap enough for every change. */
  update(progress: Progress): void;
  /** Removes the display; further output starts on a clean line. */
  stop(): void;
}

export function createDisplay(stream: NodeJS.WriteStream = process.stderr): Display {
  let latest: Progress | undefined;
  const stop = redraw((ms) => (latest ? [phaseLine(latest, ms, stream), totalsLine(latest, stream)] : []), stream);
  return {
    update: (progress) => {
      latest = progress;
    },
    stop,
  };
}

const phaseLine = ({ phase, done, total }: Progress, ms: number, stream: NodeJS.WriteStream): string =>
  `${phase.padEnd(23)} ${gauge({ done, total }, stream)}  ${duration(ms)}`;

function totalsLine({ sale, counters }: Progress, stream: NodeJS.WriteStream): string {
  const { queue, counts } = sale;
  const rejected = rejectedOutcomes.reduce((sum, outcome) => sum + counters.countOf(outcome), 0);
  const shown = gauge({ done: queue.length, total: queue.cap, width: QUEUE_WIDTH, color: 'yellow' }, stream);
  return `queue ${shown}  admitted ${count(counts.admitted)}  ordered ${count(counts.ordered)}  rejected ${count(rejected)}`;
}
