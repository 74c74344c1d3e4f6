// The history of an order as text for a terminal: a line for each item, wrapped below its last column.
import type { HistoryItem, OrderHistory } from '../../contracts/history.ts';
import { count, duration, paint, printable } from '../../demos/shared/terminal.ts';

/** An error may have 1,000 characters; --json has all of them. */
const MAX_DETAIL = 240;
/** The narrowest last column. */
const MIN_WIDTH = 20;

/** `width`: of the terminal, in columns. */
export function renderHistory(history: OrderHistory, width: number): string[] {
  const { orderId, ticketId, items } = history;
  const lines = linesOf(items);
  return [
    `order ${paint('bold', orderId)}${ticketId === undefined ? '' : `, of the ticket ${ticketId}`}`,
    ...table(lines, width),
    ...remarks(history).flatMap((remark) => wrap(remark, width)),
  ];
}

interface Line {
  readonly at: string;
  readonly service: string;
  readonly text: string;
  readonly color: 'red' | 'yellow' | undefined;
}

/** A message that was handled as soon as it was received has one line. */
function linesOf(items: readonly HistoryItem[]): Line[] {
  const same = ({ at, service, eventId }: HistoryItem) => `${at} ${service} ${eventId}`;
  const isAtOnce = ({ kind, durationMs }: HistoryItem) => kind === 'handled' && durationMs === undefined;
  const handledAtOnce = new Set(items.filter(isAtOnce).map(same));
  return items
    .filter((item) => item.kind !== 'received' || !handledAtOnce.has(same(item)))
    .map((item) => {
      const text = isAtOnce(item) ? `received and handled ${typeOf(item)}` : textOf(item);
      return { at: item.at, service: item.service, text: shortened(text), color: colorOf(item) };
    });
}

const typeOf = ({ type }: HistoryItem) => printable(type ?? 'a message');

const colorOf = ({ kind, detail = '' }: HistoryItem): Line['color'] => {
  if (kind === 'dead' || (kind === 'payment' && /^(declined|rejected)/.test(detail))) return 'red';
  return kind === 'retried' || kind === 'waiting' || kind === 'resent' ? 'yellow' : undefined;
};

function textOf(item: HistoryItem): string {
  const { kind, attempt, durationMs, detail } = item;
  const because = detail === undefined ? '' : `: ${printable(detail)}`;
  const inAttempt = attempt === undefined ? '' : ` in attempt ${attempt}`;
  const took = durationMs === undefined ? '' : ` after ${duration(durationMs)}`;
  const failed = `${typeOf(item)}${attempt === undefined ? '' : `, attempt ${attempt}`}, failed${took}`;
  switch (kind) {
    case 'accepted':
      return `accepted ${printable(detail ?? '')}`;
    case 'written':
      return `wrote ${typeOf(item)}${because}`;
    case 'published':
      return `published ${typeOf(item)}${detail === undefined ? ', at the latest' : because}`;
    case 'waiting':
      return `${typeOf(item)} waits to be published${attempt === undefined ? '' : `, rejected ${attempt} times`}${because}`;
    case 'received':
      return `received ${typeOf(item)}${because}`;
    case 'handled':
      return `handled ${typeOf(item)}${inAttempt}${took}`;
    case 'retried':
      return attempt === undefined ? `${typeOf(item)} is retried${because}` : `${failed}${because}`;
    case 'dead':
      return `${failed} and is dead${because}`;
    case 'discarded':
      return `${typeOf(item)} was discarded${because}`;
    case 'resent':
      return `resent ${typeOf(item)}, time ${attempt ?? '?'}`;
    case 'step':
      return `step ${printable(detail ?? '')}`;
    case 'payment':
      return `payment${inAttempt}${because}`;
    case 'refund':
      return `refund${attempt === undefined ? '' : ` (calls: ${attempt})`}${because}`;
    case 'admitted':
      return `admitted ${printable(detail ?? '')}`;
    case 'notification':
    case 'ticket':
      return `${kind}${because}`;
    default: // of a newer server
      return `${kind} ${typeOf(item)}${inAttempt}${because}`;
  }
}

const shortened = (text: string) => (text.length <= MAX_DETAIL ? text : `${text.slice(0, MAX_DETAIL - 1)}…`);

/** Time, milliseconds since the first line, service, text; each day begins with its date. */
function table(lines: readonly Line[], width: number): string[] {
  const first = Date.parse(lines[0]?.at ?? '');
  const offsets = lines.map(({ at }) => count(Date.parse(at) - first));
  const offsetWidth = Math.max(2, ...offsets.map(({ length }) => length));
  const serviceWidth = Math.max(7, ...lines.map(({ service }) => service.length));
  const indent = 12 + 2 + offsetWidth + 2 + serviceWidth + 2;
  const head = (time: string, offset: string, service: string) =>
    `${time.padEnd(12)}  ${offset.padStart(offsetWidth)}  ${service.padEnd(serviceWidth)}  `;
  const rows = lines.flatMap(({ at, service, text, color }, index) => {
    const day = at.slice(0, 10);
    const dayLine = day === lines[index - 1]?.at.slice(0, 10) ? [] : [paint('dim', day)];
    const [begin = '', ...rest] = wrap(text, Math.max(MIN_WIDTH, width - indent));
    const shown = (part: string) => (color === undefined ? part : paint(color, part));
    const line = `${head(at.slice(11, 23), offsets[index] ?? '', service)}${shown(begin)}`;
    return [...dayLine, line, ...rest.map((part) => `${' '.repeat(indent)}${shown(part)}`)];
  });
  return [paint('dim', `${head('time (UTC)', 'ms', 'service')}what`), ...rows];
}

/** What the history does not show. */
function remarks({ items, truncated, missing, pruned }: OrderHistory): string[] {
  return [
    ...(truncated ? [`only the newest ${count(items.length)} items are shown`] : []),
    ...missing.map(({ service, reason }) => `missing: ${service}: ${printable(reason)}`),
    ...pruned.map(({ service, before }) => {
      const time = `${before.slice(0, 16).replace('T', ' ')}Z`;
      return `pruned: ${service}: messages before ${time} are no longer stored`;
    }),
  ];
}

/** Lines of at most `width` characters, broken at spaces; a longer word is cut. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ').flatMap((each) => each.match(new RegExp(`.{1,${width}}`, 'gu')) ?? [])) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
