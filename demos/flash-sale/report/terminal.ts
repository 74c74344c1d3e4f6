// A simulation on the terminal: its progress, and its summary.
import { columns, count, duration, gauge, paint, printable, text } from '../../shared/terminal.ts';
import { fairnessSentence } from '../fairness.ts';
import { outcomesWithoutTicket } from '../purchases.ts';
import type { Progress } from '../run.ts';
import { headlines, paceSentences, responseTable, type Summary } from '../summary.ts';

const MOST_ERRORS = 5;

/** A bar of the phase, and the sale's totals. */
export function renderProgress({ phase, done, total, sale, counters }: Progress, ms: number): string[] {
  const { queue, counts } = sale;
  const rejected = outcomesWithoutTicket.reduce((sum, outcome) => sum + counters.countOf(outcome), 0);
  const shown = gauge(queue.length, queue.cap, { width: 12, color: 'yellow' });
  return [
    `${phase.padEnd(23)} ${gauge(done, total)}  ${duration(ms)}`,
    text`queue ${shown}  admitted ${counts.admitted}  ordered ${counts.ordered}  rejected ${rejected}`,
  ];
}

export function renderSummary(summary: Summary): string[] {
  const { settings, fairness, errors, equations } = summary;
  const { buyers, stock, queue, drain, seed } = settings;
  const { head, rows, caption } = responseTable(summary);
  return [
    `${text`${buyers} buyers for ${stock} units; a queue of ${queue}, drained at ${drain}/s`}; seed ${seed}`,
    '',
    ...columns([head.map((cell) => paint('dim', cell)), ...rows], { align: 'right' }),
    ...errors.slice(0, MOST_ERRORS).map(({ message, count: times }) => `    ${count(times)} × ${printable(message)}`),
    `  ${caption}`,
    '',
    ...columns(headlines(summary)),
    ...paceSentences(summary).map((sentence) => `  ${sentence}`),
    ...(fairness ? [`  ${fairnessSentence(fairness)}`] : []),
    '',
    ...columns(
      equations.map(({ name, text, holds }) =>
        holds
          ? [paint('green', '✓'), name, text]
          : [paint('red', '✗'), paint('red', name), paint('red', `${text}: DOES NOT HOLD`)],
      ),
    ),
  ];
}
