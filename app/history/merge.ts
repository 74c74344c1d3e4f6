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

/** The order of items of the same time, which are of one transaction: a cause before its effects. */
const ORDER: readonly HistoryKind[] = [
  'accepted',
  'published',
  'received',
  'retried',
  'handled',
  'payment',
  'ticket',
  'notification',
  'dead',
  'written',
  'waiting',
  'resent',
  'refund',
  'step',
];
const RANK = new Map<string, number>(ORDER.map((kind, index) => [kind, index]));

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

/**
 * By time, then by kind. The time of a step is stored in milliseconds and cut, so that in its millisecond it is after
 * the event that reports it; an event that no service has received is published after it was written.
 */
function sortKey({ at, kind, detail }: HistoryItem): string {
  const time = kind === 'step' ? `${at.slice(0, 23)}999Z` : at;
  const rank = detail === NOT_RECEIVED ? ORDER.length : (RANK.get(kind) ?? ORDER.length);
  return `${time} ${String(rank).padStart(2, '0')}`;
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
