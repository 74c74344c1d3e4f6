// An audit from its first question to its report: everything is read once, what looks wrong is looked at again, and what
// is still wrong then is an offence.
import type { MessagesSummary } from '../../../contracts/facts.ts';
import { type ServiceName, serviceNames } from '../../../contracts/services.ts';
import { withProgress } from '../terminal.ts';
import type { FactsClient } from './facts-client.ts';
import { lookAtOrders, lookAtTickets, settle, type Wrong } from './look-again.ts';
import { mendable, type Offence } from './offences.ts';
import { type Counts, type Overdue, type Sweep, sweep } from './sweep.ts';

export interface AuditOptions {
  readonly client: FactsClient;
  /** How long what looks wrong may take to become right, and how long something may be under way. */
  readonly settleMs: number;
  readonly signal: AbortSignal;
}

export interface UnderWay extends Overdue {
  /** Where messages about it are, such as `dead at points: order.placed`. */
  readonly messages: readonly string[];
}

export interface AuditResult {
  readonly counts: Counts;
  readonly offences: readonly Offence[];
  /** The first of what is under way for longer than the settle time. */
  readonly overdue: readonly UnderWay[];
  readonly messages: Readonly<Record<ServiceName, MessagesSummary>>;
  /** What asking again may mend. */
  readonly toResend: { readonly orders: readonly string[]; readonly tickets: readonly string[] };
}

/** Of those that are overdue, the ones that are named. */
const MAX_NAMED_OVERDUE = 20;

export async function audit({ client, settleMs, signal }: AuditOptions): Promise<AuditResult> {
  const seen = await withProgress('reading ', undefined, (update) => sweep(client, settleMs, update));

  const left = { orders: seen.orders.ids.size, tickets: seen.tickets.ids.size };
  const total = left.orders + left.tickets;
  const [orders, tickets] = await withProgress('settling', total, (update) => {
    const options = (kind: keyof typeof left) => ({
      settleMs,
      signal,
      onProgress: (still: number) => {
        left[kind] = still;
        update(total - left.orders - left.tickets);
      },
    });
    return Promise.all([
      settle(seen.orders.ids, (ids) => lookAtOrders(client, ids), options('orders')),
      settle(seen.tickets.ids, (ids) => lookAtTickets(client, ids), options('tickets')),
    ]);
  });
  for (const wrong of [orders, tickets])
    for (const [id, broken] of wrong) for (const rule of broken) seen.offences.add(rule, id);

  const messages = await Promise.all(serviceNames.map(async (name) => [name, await client.messages(name)] as const));
  return {
    counts: seen.counts,
    offences: seen.offences.list(),
    overdue: await whereabouts(client, [...seen.overdueOrders, ...seen.overdueTickets].slice(0, MAX_NAMED_OVERDUE)),
    messages: Object.fromEntries(messages) as Record<ServiceName, MessagesSummary>,
    toResend: toResend(seen, orders, tickets),
  };
}

function toResend(seen: Sweep, orders: Wrong, tickets: Wrong): AuditResult['toResend'] {
  const ids = (overdue: readonly Overdue[]) => overdue.map(({ id }) => id);
  return {
    orders: [...new Set([...mendable(orders), ...ids(seen.overdueOrders)])],
    tickets: [...new Set([...mendable(tickets), ...ids(seen.overdueTickets)])],
  };
}

async function whereabouts(client: FactsClient, overdue: readonly Overdue[]): Promise<UnderWay[]> {
  const ids = overdue.map(({ id }) => id);
  const about = new Map<string, string[]>(ids.map((id) => [id, []]));
  for (const service of serviceNames)
    for (const { subject, place, type } of await client.messagesAbout(service, ids)) {
      const where = place === 'outbox' ? `in the outbox of ${service}` : `${place} at ${service}`;
      about.get(subject)?.push(`${where}: ${type}`);
    }
  return overdue.map((each) => ({ ...each, messages: about.get(each.id) ?? [] }));
}

/**
 * Resends the requests about what is missing, in events of new ids, and waits until nothing that was wrong is wrong any
 * more, for `settleMs` at the most. Resolves with the number of requests.
 */
export async function repair({ client, settleMs, signal }: AuditOptions, { toResend }: AuditResult): Promise<number> {
  const ordersOfTickets = await client.facts('order/tickets', toResend.tickets);
  const orders = [...toResend.orders, ...[...ordersOfTickets.values()].map(({ orderId }) => orderId)];
  const tickets = toResend.tickets.filter((id) => !ordersOfTickets.has(id));
  const resent = (await client.resend('order', [...new Set(orders)])) + (await client.resend('flash-sale', tickets));

  const unknown = (ids: readonly string[]): Wrong => new Map(ids.map((id) => [id, []]));
  await withProgress('mending ', toResend.orders.length + toResend.tickets.length, (update) => {
    const options = (all: readonly string[]) => ({
      settleMs,
      signal,
      onProgress: (left: number) => update(all.length - left),
    });
    return Promise.all([
      settle(unknown(orders), (ids) => lookAtOrders(client, ids), options(orders)),
      settle(unknown(toResend.tickets), (ids) => lookAtTickets(client, ids), options(toResend.tickets)),
    ]);
  });
  return resent;
}
