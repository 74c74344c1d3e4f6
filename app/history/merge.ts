// Makes a history of the parts of the services. Pure.
import {
  type HistoryItem,
  type HistoryKind,
  type HistoryPart,
  MAX_HISTORY_ITEMS,
  type OrderHistory,
} from '../../contracts/history.ts';
import { type ServiceName, subscriptions } from '../../contracts/services.ts';
import { groupBy } from '../../infra/runtime/collections.ts';

/**
 * Items of the same time are of one transaction or, as the embedded database has only milliseconds, of several: a cause
 * must precede its effects. So they are sorted by how far the order has come, and then in the order of this list.
 */
const KINDS: readonly HistoryKind[] = [
  'admitted',
  'accepted',
  'received',
  'retried',
  'handled',
  'dead',
  'discarded',
  'payment',
  'ticket',
  'notification',
  'written',
  'published',
  'waiting',
  'resent',
  'refund',
  'step',
];
const RANK = new Map<string, number>(KINDS.map((kind, index) => [kind, index]));

/** From the ticket to its order, from the order to the services, and back to the order. */
const distanceOf = (type = ''): number =>
  type === 'flash-sale.ticket.accepted' ? 0 : type.startsWith('order.') ? 2 : 4;

function distance({ kind, type }: HistoryItem): number {
  switch (kind) {
    case 'admitted':
      return 0;
    case 'received':
    case 'retried':
    case 'handled':
    case 'dead':
    case 'discarded':
      return distanceOf(type) + 1;
    case 'ticket':
    case 'notification': // what handling an event of the order wrote
      return 3;
    case 'step': // what handling a reply wrote
      return 5;
    case 'written':
    case 'published':
    case 'waiting':
    case 'resent':
      return distanceOf(type);
    default: // of the order itself
      return 2;
  }
}

type Merged = Pick<OrderHistory, 'items' | 'truncated' | 'pruned'>;

export function mergeParts(parts: ReadonlyMap<ServiceName, HistoryPart>): Merged {
  const all = [...parts.values()].flatMap(({ items }) => items);
  const received = firstReceived(all);
  const items = [...all.filter((item) => !isPublished(item, received)), ...publishedItems(all, received)]
    .map((item) => ({ item, key: sortKey(item) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ item }) => item);
  return {
    items: items.slice(-MAX_HISTORY_ITEMS),
    truncated: items.length > MAX_HISTORY_ITEMS || [...parts.values()].some(({ truncated }) => truncated),
    pruned: [...parts].flatMap(([service, part]) =>
      isPruned(service, part, all) ? [{ service, before: part.keptSince }] : [],
    ),
  };
}

/** The time of a step is stored in milliseconds and cut, so it counts as the end of its millisecond. */
function sortKey(item: HistoryItem): string {
  const { at, kind } = item;
  const time = kind === 'step' ? `${at.slice(0, 23)}999Z` : at;
  const rank = RANK.get(kind) ?? KINDS.length;
  return `${time} ${distance(item)} ${String(rank).padStart(2, '0')}`;
}

/** When a service first received each event, by the event's id. */
function firstReceived(items: readonly HistoryItem[]): Map<string, string> {
  const first = new Map<string, string>();
  for (const { kind, eventId, at } of items) {
    if (kind !== 'received' || eventId === undefined) continue;
    const known = first.get(eventId);
    if (known === undefined || at < known) first.set(eventId, at);
  }
  return first;
}

/** Whether a row of an outbox belongs to an event that was received since: it is published and not deleted yet. */
const isPublished = ({ kind, eventId = '', at }: HistoryItem, received: ReadonlyMap<string, string>): boolean =>
  kind === 'waiting' && at <= (received.get(eventId) ?? '');

const NOT_RECEIVED = 'the time is not stored; no service that responded has received it';

/**
 * A row of an outbox is deleted when its event is published, so the time of that is not stored: it was published when a
 * service received it, or if it waits no more. A notification, which goes to a user's topic, is not received by services.
 */
function publishedItems(items: readonly HistoryItem[], received: ReadonlyMap<string, string>): HistoryItem[] {
  const waiting = new Set(items.filter(({ kind }) => kind === 'waiting').map(({ eventId }) => eventId));
  const written = groupBy(
    items.filter(({ kind, eventId }) => kind === 'written' && eventId !== undefined),
    ({ eventId }) => eventId ?? '',
  );
  return [...written].flatMap(([eventId, [first]]): HistoryItem[] => {
    if (!first) return [];
    const about = { service: first.service, kind: 'published', eventId, ...(first.type && { type: first.type }) };
    const at = received.get(eventId);
    if (at !== undefined) return [{ at, ...about }];
    return waiting.has(eventId) ? [] : [{ at: first.at, ...about, detail: NOT_RECEIVED }];
  });
}

/** Whether the service was sent an event so long ago that what became of it there may be deleted, and is not known. */
function isPruned(service: ServiceName, { items, keptSince }: HistoryPart, all: readonly HistoryItem[]): boolean {
  const types: readonly string[] = subscriptions[service];
  const handled = new Set(items.filter(({ kind }) => kind === 'handled').map(({ eventId }) => eventId));
  return all.some(
    ({ kind, type = '', eventId, at }) =>
      kind === 'written' && types.includes(type) && at < keptSince && !handled.has(eventId),
  );
}
