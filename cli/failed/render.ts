// Failed messages as text for a terminal.
import type { FailedMessageDetails, OperatorAction } from '../../contracts/operations.ts';
import type { ServiceName } from '../../contracts/services.ts';
import { columns, count, paint, printable } from '../../demos/shared/terminal.ts';
import type { ListedGroup, ListedMessage } from './client.ts';
import type { RetryRun, ServiceRetries } from './retry.ts';

/** The length of an error in a list; `show` prints all of it. */
const MAX_ERROR = 100;

const statusColors = { dead: 'red', retrying: 'yellow', discarded: 'dim', done: 'green' } as const;

/** Newest first over all services. */
export const newestFirst = (messages: readonly ListedMessage[]): ListedMessage[] =>
  [...messages].sort((a, b) => compare(b.receivedAt, a.receivedAt) || compare(b.id, a.id));

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

export function renderList(messages: readonly ListedMessage[], more: boolean): string[] {
  if (messages.length === 0) return ['no failed messages'];
  const header = ['service', 'status', 'attempts', 'received', 'type', 'id', 'error'];
  const rows = messages.map(({ service, status, attempts, receivedAt, type, id, error }) => [
    service,
    paint(statusColors[status], status),
    String(attempts),
    timeOf(receivedAt),
    printable(type ?? '?'),
    id,
    shortened(printable(error ?? '')),
  ]);
  return [
    ...columns([header.map((name) => paint('dim', name)), ...rows], { indent: '' }),
    ...(more ? [`the newest ${count(messages.length)}; there are more: see --limit`] : []),
  ];
}

export function renderGroups(groups: readonly ListedGroup[], more: boolean): string[] {
  if (groups.length === 0) return ['no failed messages'];
  const header = ['service', 'dead', 'retrying', 'oldest', 'newest', 'type', 'group', 'error'];
  const rows = groups.map(({ service, dead, retrying, oldestAt, newestAt, type, id, error }) => [
    service,
    count(dead),
    count(retrying),
    timeOf(oldestAt),
    timeOf(newestAt),
    printable(type ?? '?'),
    id,
    shortened(printable(error ?? '')),
  ]);
  return [
    ...columns([header.map((name) => paint('dim', name)), ...rows], { indent: '' }),
    ...(more ? [`the newest ${count(groups.length)}; there are more: see --limit`] : []),
  ];
}

export function renderActions(actions: readonly OperatorAction[], more: boolean): string[] {
  if (actions.length === 0) return ['no operator actions'];
  const header = ['at', 'who', 'from', 'action', 'service', 'target', 'change'];
  const rows = actions.map(({ at, who, from, action, service, target, details, before, after }) => [
    timeOf(at),
    printable(who),
    printable(from),
    action,
    service,
    target ?? '',
    shortened(printable(`${before === null ? '' : `${brief(before)} → `}${brief(after)}  ${JSON.stringify(details)}`)),
  ]);
  return [
    ...columns([header.map((name) => paint('dim', name)), ...rows], { indent: '' }),
    ...(more ? [`the newest ${count(actions.length)}; there are more: see --limit`] : []),
  ];
}

/** The status of one message, or how many messages had which. */
const brief = (state: Readonly<Record<string, unknown>>) =>
  typeof state.status === 'string' ? state.status : JSON.stringify(state);

export function renderMessage(service: ServiceName, message: FailedMessageDetails): string[] {
  const { id, type, subject, status, attempts, error, nextAttemptAt, receivedAt, payload } = message;
  const { payloadBytes, truncated, group, discardedAt, discardReason, correctedPayload } = message;
  const about: [string, string | null][] = [
    ['type', type ?? '?'],
    ['subject', subject ?? '?'],
    ['received', timeOf(receivedAt)],
    ['next attempt', nextAttemptAt && timeOf(nextAttemptAt)],
    ['discarded', discardedAt && `${timeOf(discardedAt)}: ${discardReason}`],
    ['error', error ?? ''],
    ['group', group],
  ];
  return [
    `${service} ${paint('bold', id)}: ${paint(statusColors[status], status)} after ${attempts} attempt${attempts === 1 ? '' : 's'}`,
    ...columns(about.flatMap(([name, value]) => (value === null ? [] : [[name, printable(value)]]))),
    truncated
      ? `payload, the first 64 KiB of ${count(payloadBytes)} bytes (the rest is not stored, so it cannot be retried):`
      : 'payload:',
    ...indented(payload),
    ...(correctedPayload === null
      ? []
      : ['corrected payload, which is handled instead:', ...indented(correctedPayload)]),
  ];
}

const indented = (payload: string) =>
  laidOut(payload)
    .split('\n')
    .map((line) => `  ${printable(line)}`);

/** JSON over several lines, unless parsing loses something: rounded numbers, repeated names. */
function laidOut(payload: string): string {
  try {
    const value: unknown = JSON.parse(payload);
    if (JSON.stringify(value) === payload.trim()) return JSON.stringify(value, null, 2);
  } catch {
    // Not JSON: shown as it arrived.
  }
  return payload;
}

export function renderRetries(
  { services, totals, truncated }: Pick<RetryRun, 'services' | 'totals' | 'truncated'>,
  { dryRun, waited }: { readonly dryRun: boolean; readonly waited: boolean },
): string[] {
  const cannot = truncated > 0 ? [`${count(truncated)} cannot be retried: only their first 64 KiB are stored`] : [];
  if (totals.matching === 0) return truncated > 0 ? cannot : ['no failed message matches'];
  const matched = services.filter(({ matching }) => matching > 0);
  const line = ({ retried, left, matching, ...each }: Omit<ServiceRetries, 'service'>) =>
    dryRun
      ? `${count(matching)} would be retried`
      : `${count(retried)} retried${waited ? outcomes(each) : ''}, ${count(left)} left`;
  return [...columns(matched.map((each) => [each.service, line(each)])), line(totals), ...cannot];
}

/** What became of the retried messages. */
function outcomes({ succeeded, failed, takenOver }: Pick<ServiceRetries, 'succeeded' | 'failed' | 'takenOver'>) {
  const others = takenOver > 0 ? `, ${count(takenOver)} retried again by another run` : '';
  return `: ${count(succeeded)} succeeded, ${count(failed)} failed again${others}`;
}

/** 2026-11-20T16:15:58.123Z as `2026-11-20 16:15:58Z`. */
const timeOf = (iso: string) => `${iso.slice(0, 19).replace('T', ' ')}Z`;

const shortened = (text: string) => (text.length <= MAX_ERROR ? text : `${text.slice(0, MAX_ERROR - 1)}…`);
