// An outage on a terminal or in a log: a line per second, with the stopped service's backlog as a bar, and a summary.
// And as a picture: responses, backlog and completions, below each other on one time axis.
import { renderAuditReport } from '../shared/auditor/report.ts';
import { steps } from '../shared/metrics.ts';
import { bar, columns, count, duration, milliseconds, paint } from '../shared/terminal.ts';
import { type Panel, panelsDocument } from '../shared/time-chart.ts';
import type { Second, Settings } from './scenario.ts';
import { type Summary, statusText } from './summary.ts';

/** Characters of the bar for the longest expected backlog; longer bars are cut. */
const BAR_WIDTH = 30;
const widths = { second: 6, responses: 19, p95: 10, completed: 11, waiting: 8 };

export function headLine({ service }: Settings): string {
  const waiting = steps.map((step) => step.padStart(widths.waiting)).join('');
  const head = 'second'.padStart(widths.second) + 'responses'.padStart(widths.responses) + 'p95'.padStart(widths.p95);
  return `${head}${'completed'.padStart(widths.completed)}${waiting}   waiting for ${service}`;
}

export function secondLine(
  { second, responses, p95Ms, completed, waiting }: Second,
  { service, rate, awaySeconds }: Settings,
  stream: NodeJS.WriteStream,
): string {
  const counts = Object.entries(responses).map(([status, times]) => {
    const text = `${count(times)} × ${statusText(status)}`;
    return { text, shown: status.startsWith('2') ? text : paint('red', text, stream) };
  });
  const width = counts.map(({ text }) => text).join(', ').length;
  const shown = ' '.repeat(Math.max(2, widths.responses - width)) + counts.map((each) => each.shown).join(', ');
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
    `${settings.service} was away for ${duration(readyMs - goneMs)}; at most ${count(longestBacklog)} orders waited for it; ${back}`,
    '',
    ...renderAuditReport(summary.audit.report),
    ...(failures.length === 0
      ? ['', paint('green', `Every order got a 2xx while ${settings.service} was away, and nothing is missing.`)]
      : []),
  ];
}

export function svgOf(summary: Summary): string {
  const { settings, seconds, goneMs, readyMs, caughtUpAfterMs, shape } = summary;
  const { service, rate } = settings;
  const back =
    caughtUpAfterMs === null ? 'it did not catch up' : `it caught up ${duration(caughtUpAfterMs)} after its start`;
  const head = {
    title: `${count(rate)} orders per second, ${service} away for ${duration(readyMs - goneMs)}`,
    subtitle: `${shape}; ${back}`,
  };
  const axis = { fromMs: 0, toMs: Math.max(1, seconds.length) * 1_000, stepMs: 1_000 };
  return panelsDocument(head, panelsOf(summary), axis);
}

function panelsOf(summary: Summary): Panel[] {
  const { settings, phases, seconds, goneMs, readyMs, longestBacklog } = summary;
  const { service } = settings;
  const total = (of: 'orders' | 'accepted') => count(phases.reduce((sum, phase) => sum + phase[of], 0));
  const counted = seconds.map(({ second, responses }) => {
    const middleMs = (second - 0.5) * 1_000;
    const sumOf = (is2xx: boolean) =>
      Object.entries(responses).reduce(
        (sum, [status, times]) => sum + (status.startsWith('2') === is2xx ? times : 0),
        0,
      );
    return { ok: sumOf(true), others: sumOf(false), away: middleMs >= goneMs && middleMs < readyMs };
  });
  return [
    {
      id: 'responses',
      title: 'Responses per second',
      description: `${total('accepted')} of ${total('orders')} orders got a 2xx.`,
      stacks: [
        { name: `2xx, ${service} runs`, color: 'green', values: counted.map(({ ok, away }) => (away ? 0 : ok)) },
        { name: `2xx, ${service} is away`, color: 'yellow', values: counted.map(({ ok, away }) => (away ? ok : 0)) },
        { name: 'others', color: 'orange', values: counted.map(({ others }) => others) },
      ],
    },
    {
      id: 'waiting',
      title: `Orders that wait for ${service}`,
      description: `At most ${count(longestBacklog)} orders waited for ${service}.`,
      stacks: [],
      line: {
        name: 'waiting',
        points: seconds.map(({ second, waiting }) => ({ atMs: second * 1_000, value: waiting[service] })),
      },
    },
    {
      id: 'completed',
      title: 'Completed orders per second',
      description: 'Orders by the second in which their last step was done.',
      stacks: [{ name: 'completed', color: 'blue', values: seconds.map(({ completed }) => completed) }],
    },
  ];
}
