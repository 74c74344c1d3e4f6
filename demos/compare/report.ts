// The comparison for a terminal: a table, and bars to the same scale.
import { bar, columns, count, milliseconds, paint } from '../shared/terminal.ts';
import type { Comparison } from './run.ts';

/** The length of the longest bar, in characters. */
const BAR_WIDTH = 40;

export function renderComparison({ workMs, orders, clients, strategies }: Comparison): string[] {
  const head = ['', 'response p50', 'p99', 'completed p50', `${clients} clients`];
  const rows = strategies.map(({ strategy, responseMs, completedMs, completedPerSecond }) => [
    strategy,
    milliseconds(responseMs.p50),
    milliseconds(responseMs.p99),
    milliseconds(completedMs.p50),
    `${count(Math.round(completedPerSecond))} orders/s`,
  ]);
  const longest = Math.max(...strategies.flatMap(({ responseMs, completedMs }) => [responseMs.p50, completedMs.p50]));
  /** Even the shortest bar is visible. */
  const barOf = (ms: number) => bar(Math.max(ms / longest, 1 / (8 * BAR_WIDTH)), BAR_WIDTH);
  const bars = strategies.flatMap(({ strategy, responseMs, completedMs }) => [
    [strategy, 'response', `${paint('green', barOf(responseMs.p50))} ${milliseconds(responseMs.p50)}`],
    ['', 'completed', `${paint('cyan', barOf(completedMs.p50))} ${milliseconds(completedMs.p50)}`],
  ]);
  return [
    `The same order, with ${workMs} ms of work in each of its three steps; ${count(orders)} orders for each client.`,
    '',
    ...columns([head.map((cell) => paint('dim', cell)), ...rows], { align: 'right' }),
    '',
    ...columns(bars),
  ];
}
