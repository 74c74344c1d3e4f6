// The result of an audit, as text and as JSON.
import { serviceNames } from '../../../contracts/services.ts';
import { columns, count, duration, paint, printable, text } from '../terminal.ts';
import { invariants } from './rules.ts';
import type { Audit } from './run.ts';

/** Ids that are printed of each rule; the JSON has more. */
const SHOWN = 10;

type Report = Audit['report'];
export type AuditReport = Report & {
  /**
   * With --repair: the numbers of orders and tickets whose requests were resent, and that were left out because an
   * operator discarded a message about them; the violations before.
   */
  readonly repaired?: {
    readonly resent: number;
    readonly discarded: number;
    readonly violationsBefore: Report['violations'];
  };
};

/** `12 guarantee violations` */
export function violationSummary(violations: Report['violations']): string {
  const total = violations.reduce((sum, violation) => sum + violation.total, 0);
  return `${count(total)} guarantee violation${total === 1 ? '' : 's'}`;
}

export function renderAuditReport(report: AuditReport): string[] {
  const { counts, tookMs, repaired } = report;
  const { confirmed, cancelled, awaitingPayment } = counts.orders;
  const lines = [
    text`audited  ${confirmed + cancelled + awaitingPayment} orders (${confirmed} confirmed, ${cancelled} cancelled, ` +
      text`${awaitingPayment} awaiting payment), ${counts.points} points entries, ${counts.coupons} coupon decisions, ` +
      text`${counts.notifications} notifications, ${counts.tickets} tickets of ${counts.sales} sales, in ${duration(tookMs)}`,
    '',
  ];
  for (const [invariant, guarantee] of Object.entries(invariants)) {
    const violations = report.violations.filter((violation) => violation.invariant === invariant);
    const verdict = violations.length === 0 ? paint('green', 'holds') : paint('red', violationSummary(violations));
    lines.push(`${paint('bold', invariant)}  ${guarantee}: ${verdict}`, ...violations.flatMap(renderViolation));
  }
  lines.push('', ...renderUnderWay(report), ...renderMessages(report));
  const before = repaired && violationSummary(repaired.violationsBefore);
  if (repaired) lines.push('', `resent requests for ${count(repaired.resent)} orders and tickets; before: ${before}`);
  if (repaired && repaired.discarded > 0)
    lines.push(`left out ${count(repaired.discarded)} with a discarded message; to handle it, retry it by its id`);
  return lines;
}

/** The first lines, and the number of further ones. */
function firstOf(lines: readonly string[], total: number, indent: string, more = 'more'): string[] {
  const shown = lines.slice(0, SHOWN).map((line) => indent + line);
  return total > shown.length ? [...shown, `${indent}and ${count(total - shown.length)} ${more}`] : shown;
}

function renderViolation({ text: what, total, ids, repairable }: Report['violations'][number]): string[] {
  const line = `      ${paint('red', what)}: ${count(total)}${repairable ? ' (--repair resends its request)' : ''}`;
  return [line, ...firstOf(ids.map(printable), total, '        ')];
}

function renderUnderWay({ counts: { underWay }, overdue, settleMs }: AuditReport): string[] {
  const { orders, tickets } = underWay;
  if (orders + tickets === 0) return ['under way  none: every order and ticket is final'];
  const lines = overdue.map(({ id, waitsFor, sinceMs, dueInMs, messages }) => {
    const due = dueInMs === null ? 'no action is due' : `next action in ${duration(Math.max(0, dueInMs))}`;
    return `${id}  for ${duration(sinceMs)}: ${waitsFor.join(', ')}; ${[...messages, due].join('; ')}`;
  });
  return [
    text`under way  ${orders} orders and ${tickets} tickets; ${underWay.overdue} for more than ` +
      `${duration(settleMs)}${underWay.overdue > 0 ? ' (--repair resends their requests)' : ''}`,
    ...firstOf(lines, underWay.overdue, '  '),
  ];
}

function renderMessages({ messages, settleMs }: AuditReport): string[] {
  const rows = serviceNames.map((name) => {
    const { outbox, inbox } = messages[name];
    const cells = [outbox.bus, outbox.user, inbox.pending, inbox.retrying, inbox.dead].map(({ rows, oldestMs }, at) => {
      const late = rows > 0 && (at === 4 || (oldestMs ?? 0) > settleMs);
      const age = rows > 0 && oldestMs !== null ? ` (${duration(Math.max(0, oldestMs))})` : '';
      return late ? paint('yellow', `${count(rows)}${age}`) : `${count(rows)}${age}`;
    });
    return [name, ...cells];
  });
  const head = ['waiting', 'outbox to bus', 'to users', 'inbox pending', 'retrying', 'dead'];
  const dead = serviceNames.flatMap((name) => {
    const { dead, inbox } = messages[name];
    const lines = dead.map(({ id, type, error }) => {
      const message = printable(`${type ?? 'unknown'} ${id}: ${error}`.slice(0, 200));
      return `dead at ${name}: ${message}`;
    });
    const shown = firstOf(lines, inbox.dead.rows, '  ', `more dead at ${name}`);
    return shown.length > 0 ? [...shown, `  retry them with: sluice failed retry --service ${name}`] : [];
  });
  return [...columns([head, ...rows], { indent: '' }), ...dead];
}
