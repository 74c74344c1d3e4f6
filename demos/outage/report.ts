// An outage on a terminal or in a log: a line per second, with the stopped service's backlog as a bar, and a summary.
import { renderAuditReport } from '../shared/auditor/report.ts';
import { steps } from '../shared/metrics.ts';
import { bar, columns, count, duration, milliseconds, paint } from '../shared/terminal.ts';
import type { Second, Settings } from './scenario.ts';
import { type Summary, statusText } from './summary.ts';

/** Characters of the bar for the longest expected backlog; longer bars are cut. */
const BAR_WIDTH = 30;
const widths = { second: 6, answers: 19, p95: 10, completed: 11, waiting: 8 };

export function headLine({ service }: Settings): string {
  const waiting = steps.map((step) => step.padStart(widths.waiting)).join('');
  const head = 'second'.padStart(widths.second) + 'answers'.padStart(widths.answers) + 'p95'.padStart(widths.p95);
  return `${head}${'completed'.padStart(widths.completed)}${waiting}   waiting for ${service}`;
}

export function secondLine(
  { second, answers, p95Ms, completed, waiting }: Second,
  { service, rate, awaySeconds }: Settings,
  stream: NodeJS.WriteStream,
): string {
  const counts = Object.entries(answers).map(([status, times]) => {
    const text = `${count(times)} × ${statusText(status)}`;
    return { text, shown: status.startsWith('2') ? text : paint('red', text, stream) };
  });
  const width = counts.map(({ text }) => text).join(', ').length;
  const shown = ' '.repeat(Math.max(2, widths.answers - width)) + counts.map((each) => each.shown).join(', ');
  const numbers = steps.map((step) => {
    const text = count(waiting[step]).padStart(widths.waiting);
    return step === service ? paint('yellow', text, stream) : text;
  });
  return [
    String(second).padStart(widths.second),
    shown,
    (p95Ms === null ? '–' : milliseconds(p95Ms)).padStart(widths.p95),
    count(completed).padStart(widths.completed),
    ...numbers,
    `   ${paint('yellow', bar(waiting[service] / (rate * awaySeconds), BAR_WIDTH), stream)}`,
  ]
    .join('')
    .trimEnd();
}

export function renderSummary(summary: Summary): string[] {
  const { settings, phases, goneMs, readyMs, longestBacklog, readyAfterMs, caughtUpAfterMs, failures } = summary;
  const head = ['', 'orders', 'got 2xx', 'p50', 'p95', 'max'];
  const rows = phases.map(({ name, orders, accepted, latencyMs }) => [
    name,
    count(orders),
    accepted === orders ? count(accepted) : paint('red', count(accepted)),
    ...(latencyMs ? [latencyMs.p50, latencyMs.p95, latencyMs.max].map(milliseconds) : ['–', '–', '–']),
  ]);
  const back =
    caughtUpAfterMs === null
      ? paint('red', 'it has not caught up')
      : `it was ready ${duration(readyAfterMs)} after its start, and had caught up after ${duration(caughtUpAfterMs)}`;
  return [
    ...columns([head.map((cell) => paint('dim', cell)), ...rows], { align: 'right' }),
    '',
    `${settings.service} was away for ${duration(readyMs - goneMs)}; ${count(longestBacklog)} orders waited for it at the most; ${back}`,
    '',
    ...renderAuditReport(summary.audit.report),
    ...(failures.length === 0
      ? ['', paint('green', `Every order got a 2xx while ${settings.service} was away, and nothing is missing.`)]
      : []),
  ];
}
