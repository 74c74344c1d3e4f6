// The report of a replay: the equations of lines and of invoices, and the state of the orders.
import { columns, count, duration, paint, printable, text } from '../shared/terminal.ts';
import { type Counters, type Equation, sumOf } from './counters.ts';
import type { ListedRejections } from './invoices.ts';

type ReplayReport = ReturnType<Counters['report']>;

/** The reasons why the run failed; empty if it succeeded. */
export function shortcomings({ lines, invoices, orders }: ReplayReport): string[] {
  const failed = sumOf(invoices.failed);
  const rejectedAll = orders.placed + orders.alreadyThere === 0;
  return [
    ...(lines.holds ? [] : ['the equation of lines does not hold']),
    ...(invoices.holds ? [] : ['the equation of invoices does not hold']),
    ...(failed > 0 ? [text`${failed} invoices could not be placed; run it again to resume`] : []),
    ...(orders.incomplete.length > 0 ? [text`${orders.incomplete.length} orders are not completed`] : []),
    ...(rejectedAll ? [`no order was placed${mostFrequent(lines.rejected)}`] : []),
  ];
}

/** In the error too, because it says what to change about the file. */
function mostFrequent([top]: ListedRejections): string {
  return top ? text`; ${top.count} lines: ${printable(top.reason)} (first: ${printable(top.first)})` : '';
}

const MOST_IDS = 10;

export function renderReport({ lines, invoices, orders, placingMs, completedAfterMs }: ReplayReport): string[] {
  const total = orders.placed + orders.alreadyThere;
  const completed = text`${orders.completed} of ${total}`;
  const shown = orders.incomplete.slice(0, MOST_IDS);
  const more = orders.incomplete.length - shown.length;
  const latency = (['p50', 'p99', 'max'] as const).map((name) => `${name} ${duration(completedAfterMs?.[name] ?? 0)}`);
  return [
    ...renderEquation('lines', lines),
    ...renderEquation('invoices', invoices),
    text`orders     ${orders.placed} newly placed, ${orders.alreadyThere} already there, in ${duration(placingMs)}`,
    `completed  ${orders.incomplete.length === 0 ? completed : paint('red', completed)}`,
    ...shown.map(({ id, state }) => `           ${id}  ${printable(state)}`),
    ...(more > 0 ? [text`           and ${more} more (--json lists them)`] : []),
    ...(completedAfterMs ? [`after acceptance  ${latency.join(', ')}`] : []),
  ];
}

function renderEquation(name: string, { read, ordered, rejected, failed, holds }: Equation): string[] {
  const failures = failed.length > 0 ? text` + ${sumOf(failed)} failed` : '';
  const verdict = holds ? paint('green', 'holds') : paint('red', 'DOES NOT HOLD');
  return [
    text`${name.padEnd(9)}  ${read} read = ${ordered} ordered + ${sumOf(rejected)} rejected${failures}  ${verdict}`,
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
