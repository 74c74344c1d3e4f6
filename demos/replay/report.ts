// The report of a replay: the equations of lines and of invoices, and the state of the orders.
import { columns, count, duration, paint, printable } from '../shared/terminal.ts';
import type { Counters } from './counters.ts';
import { type Equation, type ListedRejections, sumOf } from './equation.ts';

type ReplayReport = ReturnType<Counters['report']>;

/** The reasons why the run failed; empty if it succeeded. */
export function shortcomings({ lines, invoices, orders }: ReplayReport): string[] {
  const failed = sumOf(invoices.failed);
  const rejectedAll = orders.placed + orders.alreadyThere === 0;
  return [
    ...(lines.closes ? [] : ['the equation of lines does not close']),
    ...(invoices.closes ? [] : ['the equation of invoices does not close']),
    ...(failed > 0 ? [`${count(failed)} invoices got no response`] : []),
    ...(orders.incomplete.length > 0 ? [`${count(orders.incomplete.length)} orders are not completed`] : []),
    ...(rejectedAll ? ['no order was placed'] : []),
  ];
}

const MOST_IDS = 10;

export function renderReport({ lines, invoices, orders, placingMs, completedAfterMs }: ReplayReport): string[] {
  const total = orders.placed + orders.alreadyThere;
  const completed = `${count(orders.completed)} of ${count(total)}`;
  const shown = orders.incomplete.slice(0, MOST_IDS);
  const more = orders.incomplete.length - shown.length;
  const latency = (['p50', 'p99', 'max'] as const).map((name) => `${name} ${duration(completedAfterMs?.[name] ?? 0)}`);
  return [
    ...renderEquation('lines', lines),
    ...renderEquation('invoices', invoices),
    `orders     ${count(orders.placed)} newly placed, ${count(orders.alreadyThere)} already there, in ${duration(placingMs)}`,
    `completed  ${orders.incomplete.length === 0 ? completed : paint('red', completed)}`,
    ...shown.map(({ id, state }) => `           ${id}  ${printable(state)}`),
    ...(more > 0 ? [`           and ${count(more)} more (--json lists them)`] : []),
    ...(completedAfterMs ? [`after acceptance  ${latency.join(', ')}`] : []),
  ];
}

function renderEquation(name: string, { read, ordered, rejected, failed, closes }: Equation): string[] {
  const failures = failed.length > 0 ? ` + ${count(sumOf(failed))} failed` : '';
  const verdict = closes ? paint('green', 'closes') : paint('red', 'DOES NOT CLOSE');
  return [
    `${name.padEnd(9)}  ${count(read)} read = ${count(ordered)} ordered + ${count(sumOf(rejected))} rejected${failures}  ${verdict}`,
    ...renderReasons(rejected),
    ...renderReasons(failed),
  ];
}

const renderReasons = (rejections: ListedRejections): string[] =>
  columns(
    rejections.map(({ reason, count: times, first }) => [
      count(times).padStart(6),
      printable(reason),
      paint('dim', `first: ${printable(first)}`),
    ]),
    { indent: '         ' },
  );
