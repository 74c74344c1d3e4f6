// The comparison on a terminal: a table, and bars to the same scale.
import { columns, count, paint } from '../shared/terminal.ts';
import type { Comparison } from './run.ts';

/** Characters of the longest bar. */
const BAR = 40;
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** `2.9 ms`, `318 ms`: with a decimal where it tells something. */
export const milliseconds = (ms: number) => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

export function renderComparison({ workMs, orders, clients, ways }: Comparison): string[] {
  const right = (cells: readonly string[], widths: readonly number[]) =>
    cells.map((cell, index) => (index === 0 ? cell : cell.padStart(widths[index] ?? 0)));
  const head = ['', 'answer p50', 'p99', 'completed p50', `${clients} clients`];
  const rows = ways.map(({ way, answerMs, completedMs, completedPerSecond }) => [
    way,
    milliseconds(answerMs.p50),
    milliseconds(answerMs.p99),
    milliseconds(completedMs.p50),
    `${count(Math.round(completedPerSecond))} orders/s`,
  ]);
  const widths = head.map((cell, index) => Math.max(cell.length, ...rows.map((row) => (row[index] ?? '').length)));
  const longest = Math.max(...ways.flatMap(({ answerMs, completedMs }) => [answerMs.p50, completedMs.p50]));
  const bars = ways.flatMap(({ way, answerMs, completedMs }) => [
    [way, 'answer', `${paint('green', bar(answerMs.p50 / longest))} ${milliseconds(answerMs.p50)}`],
    ['', 'completed', `${paint('cyan', bar(completedMs.p50 / longest))} ${milliseconds(completedMs.p50)}`],
  ]);
  return [
    `The same order, with ${workMs} ms of work in each of its three steps; ${count(orders)} orders by each client.`,
    '',
    ...columns([right(head, widths).map((cell) => paint('dim', cell)), ...rows.map((row) => right(row, widths))]),
    '',
    ...columns(bars),
  ];
}

function bar(share: number): string {
  const eighths = Math.max(1, Math.round(share * BAR * 8));
  return '█'.repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? '');
}
