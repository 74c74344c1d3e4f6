// The report of a replay: the equations of lines and of invoices, and the state of the orders.
import type { Latency } from '../shared/statistics.ts';
import { columns, count, duration, paint, printable } from '../shared/terminal.ts';
import type { Equation } from './equation.ts';
import type { Incomplete } from './follow.ts';
import { type Rejection, sumOf } from './rejections.ts';

export interface ReplayReport {
  readonly file: string;
  readonly lines: Equation;
  readonly invoices: Equation;
  readonly orders: {
    /** Placed by this run. */
    readonly placed: number;
    /** Placed by an earlier run: the same invoice number returns the same order. */
    readonly alreadyThere: number;
    readonly completed: number;
    readonly incomplete: readonly Incomplete[];
  };
  /** From the first request to the last response. */
  readonly placingMs: number;
  /** From acceptance to the last step of an order, in milliseconds by the database's clock; null if none is completed. */
  readonly completedAfterMs: Latency | null;
}

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
  return [
    ...renderEquation('lines', lines),
    ...renderEquation('invoices', invoices),
    `orders     ${count(orders.placed)} newly placed, ${count(orders.alreadyThere)} already there, in ${duration(placingMs)}`,
    `completed  ${orders.incomplete.length === 0 ? completed : paint('red', completed)}`,
    ...shown.map(({ id, state }) => `           ${id}  ${printable(state)}`),
    ...(more > 0 ? [`           and ${count(more)} more (--json lists them)`] : []),
    ...(completedAfterMs ? [`after acceptance  ${renderLatency(completedAfterMs)}`] : []),
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

const renderReasons = (rejections: readonly Rejection[]): string[] =>
  columns(
    rejections.map(({ reason, count: times, first }) => [
      count(times).padStart(6),
      printable(reason),
      paint('dim', `first: ${printable(first)}`),
    ]),
    { indent: '         ' },
  );

const renderLatency = ({ p50, p99, max }: Latency): string =>
  `p50 ${duration(p50)}, p99 ${duration(p99)}, max ${duration(max)}`;
