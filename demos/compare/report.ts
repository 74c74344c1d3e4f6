// The comparison on a terminal: a table, and bars to the same scale.
import { bar, columns, count, milliseconds, paint } from '../shared/terminal.ts';
import type { Comparison } from './run.ts';

/** Characters of the longest bar. */
const BAR_WIDTH = 40;

export function renderComparison({ workMs, orders, clients, ways }: Comparison): string[] {
  const head = ['', 'answer p50', 'p99', 'completed p50', `${clients} clients`];
  const rows = ways.map(({ way, answerMs, completedMs, completedPerSecond }) => [
    way,
    milliseconds(answerMs.p50),
    milliseconds(answerMs.p99),
    milliseconds(completedMs.p50),
    `${count(Math.round(completedPerSecond))} orders/s`,
  ]);
  const longest = Math.max(...ways.flatMap(({ answerMs, completedMs }) => [answerMs.p50, completedMs.p50]));
  /** However short, it is seen. */
  const barOf = (ms: number) => bar(Math.max(ms / longest, 1 / (8 * BAR_WIDTH)), BAR_WIDTH);
  const bars = ways.flatMap(({ way, answerMs, completedMs }) => [
    [way, 'answer', `${paint('green', barOf(answerMs.p50))} ${milliseconds(answerMs.p50)}`],
    ['', 'completed', `${paint('cyan', barOf(completedMs.p50))} ${milliseconds(completedMs.p50)}`],
  ]);
  return [
    `The same order, with ${workMs} ms of work in each of its three steps; ${count(orders)} orders by each client.`,
    '',
    ...columns([head.map((cell) => paint('dim', cell)), ...rows], { align: 'right' }),
    '',
    ...columns(bars),
  ];
}
