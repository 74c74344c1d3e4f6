// The summary for the terminal.
import { columns, count, duration, paint, printable } from '../../shared/terminal.ts';
import { fairnessSentence } from '../fairness.ts';
import { outcomeNames, purchaseOutcomes, rejectedOutcomes } from '../purchases.ts';
import { perSecond, type Summary, sumOfRejections } from '../summary.ts';

const MOST_ERRORS = 5;
const dim = (text: string) => paint('dim', text);

export function renderSummary(summary: Summary): string[] {
  const { settings, buyers, requests, tickets, longestQueue, fairness, errors } = summary;
  return [
    `${count(settings.buyers)} buyers for ${count(settings.stock)} units; a queue of ${count(settings.queue)}, drained at ${count(settings.drain)}/s; seed ${settings.seed}`,
    '',
    ...columns(
      [
        ['', 'buyers', 'requests'].map(dim),
        ['admitted', count(buyers.admitted), count(requests.answered.admitted)],
        ['yours already', '', count(requests.answered.already)],
        ...rejectedOutcomes.map((outcome) => [
          `rejected: ${outcomeNames[outcome]}`,
          count(buyers.rejected[outcome]),
          count(requests.answered[outcome]),
        ]),
        ...(requests.answered.error > 0
          ? [[paint('red', 'error'), count(buyers.unanswered), count(requests.answered.error)]]
          : []),
        ['in all', count(buyers.total), count(requests.sent)],
      ],
      { align: 'right' },
    ),
    ...errors.slice(0, MOST_ERRORS).map(({ message, count: times }) => `    ${count(times)} × ${printable(message)}`),
    '',
    `orders     ${count(tickets.ordered)}, at ${perSecond(summary.ordersPerSecond)} (the queue drains at ${count(settings.drain)}/s); ${count(tickets.released)} released`,
    `rejections   ${count(sumOfRejections(summary))}, at ${perSecond(summary.rejectionsPerSecond)}`,
    `queue      ${count(longestQueue)} at its longest, of at most ${count(settings.queue)}`,
    ...(fairness ? [`fairness   ${fairnessSentence(fairness)}`] : []),
    '',
    `answers, from the buyer's arrival (including the wait for one of ${summary.connections} connections: at most ${duration(summary.longestWaitMs)})`,
    ...columns([['', 'p50', 'p95', 'p99', 'max'].map(dim), ...latencyRows(summary)], { align: 'right' }),
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

const latencyRows = ({ latencyMs }: Summary): string[][] =>
  purchaseOutcomes.flatMap((outcome) => {
    const latency = latencyMs[outcome];
    if (!latency) return [];
    return [[outcomeNames[outcome], ...[latency.p50, latency.p95, latency.p99, latency.max].map(duration)]];
  });
