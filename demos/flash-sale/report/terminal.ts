// The summary for the terminal.
import { columns, count, duration, paint, printable } from '../../shared/terminal.ts';
import { fairnessSentence } from '../fairness.ts';
import { outcomeRows, perSecond, type Summary, sumOfRejections } from '../summary.ts';

const MOST_ERRORS = 5;

export function renderSummary(summary: Summary): string[] {
  const { settings, tickets, longestQueue, fairness, errors, connections, longestWaitMs } = summary;
  const head = ['', 'buyers', 'requests', 'p50', 'p95', 'p99', 'max'].map((cell) => paint('dim', cell));
  return [
    `${count(settings.buyers)} buyers for ${count(settings.stock)} units; a queue of ${count(settings.queue)}, drained at ${count(settings.drain)}/s; seed ${settings.seed}`,
    '',
    ...columns([head, ...outcomeRows(summary)], { align: 'right' }),
    ...errors.slice(0, MOST_ERRORS).map(({ message, count: times }) => `    ${count(times)} × ${printable(message)}`),
    `  times count from the buyer's arrival, including the wait for one of ${connections} connections (at most ${duration(longestWaitMs)})`,
    '',
    `orders      ${count(tickets.ordered)}, at ${perSecond(summary.ordersPerSecond)} (the queue drains at ${count(settings.drain)}/s); ${count(tickets.released)} released`,
    `rejections  ${count(sumOfRejections(summary))}, at ${perSecond(summary.rejectionsPerSecond)}`,
    `queue       ${count(longestQueue)} at its longest, of at most ${count(settings.queue)}`,
    ...(fairness ? [`fairness    ${fairnessSentence(fairness)}`] : []),
    '',
    ...columns(
      summary.equations.map(({ name, text, holds }) =>
        holds
          ? [paint('green', '✓'), name, text]
          : [paint('red', '✗'), paint('red', name), paint('red', `${text}: DOES NOT HOLD`)],
      ),
    ),
  ];
}
