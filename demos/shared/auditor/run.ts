// An audit from its first request to its report: everything is read once, candidates are looked at again, and
// candidates that are still wrong become violations.
import type { MessagesSummary } from '../../../contracts/facts.ts';
import { type ServiceName, serviceNames } from '../../../contracts/services.ts';
import { withProgress } from '../terminal.ts';
import type { FactsClient } from './facts-client.ts';
import { lookAtOrders, lookAtTickets, settle } from './look-again.ts';
import { type Overdue, Sweep } from './sweep.ts';
import { repairableIds, type Wrong } from './violations.ts';

export interface AuditOptions {
  readonly client: FactsClient;
  /** How long candidates may take to become right, and orders and tickets to become final. */
  readonly settleMs: number;
  readonly signal: AbortSignal;
}

export type AuditResult = Awaited<ReturnType<typeof audit>>;

const MAX_NAMED_OVERDUE = 20;

export async function audit(options: AuditOptions) {
  const { client, settleMs } = options;
  const sweep = new Sweep(settleMs);
  await withProgress('reading ', undefined, (update) => sweep.run(client, update));
  const { counts, violations, overdueOrders, overdueTickets } = sweep;
  const [orders, tickets] = await settleBoth(options, 'settling', [sweep.orders.ids, sweep.tickets.ids]);
  for (const [id, violated] of [...orders, ...tickets]) for (const rule of violated) violations.add(rule, id);

  const messages = await Promise.all(serviceNames.map(async (name) => [name, await client.messages(name)] as const));
  const overdue = [...overdueOrders, ...overdueTickets].slice(0, MAX_NAMED_OVERDUE);
  const toResend = (wrong: Wrong, late: readonly Overdue[]) => [
    ...new Set([...repairableIds(wrong), ...late.map(({ id }) => id)]),
  ];
  return {
    counts,
    violations: violations.list(),
    /** The first orders and tickets that take longer than the settle time. */
    overdue: await withMessageLocations(client, overdue),
    messages: Object.fromEntries(messages) as Record<ServiceName, MessagesSummary>,
    /** Ids for which a resend may repair something. */
    toResend: { orders: toResend(orders, overdueOrders), tickets: toResend(tickets, overdueTickets) },
  };
}

/**
 * Resends the requests for what is missing, in events with new ids, and waits until all of it is right,
 * for `settleMs` at most. Resolves with the number of orders and tickets whose requests were resent.
 */
export async function repair(options: AuditOptions, { toResend }: AuditResult): Promise<number> {
  const { client } = options;
  const ordersOfTickets = await client.facts('order/tickets', toResend.tickets);
  const orders = new Set([...toResend.orders, ...[...ordersOfTickets.values()].map(({ orderId }) => orderId)]);
  const withoutOrder = toResend.tickets.filter((id) => !ordersOfTickets.has(id));
  const resent = (await client.resend('order', [...orders])) + (await client.resend('flash-sale', withoutOrder));
  const toCheck = (ids: Iterable<string>): Wrong => new Map([...ids].map((id) => [id, []]));
  await settleBoth(options, 'repairing', [toCheck(orders), toCheck(toResend.tickets)]);
  return resent;
}

/** Orders and tickets that are still wrong after the settle time. */
function settleBoth(
  { client, settleMs, signal }: AuditOptions,
  label: string,
  [orders, tickets]: readonly [Wrong, Wrong],
): Promise<[Wrong, Wrong]> {
  const left = { orders: orders.size, tickets: tickets.size };
  const total = left.orders + left.tickets;
  return withProgress(label, total, (update) => {
    const onProgress = (kind: keyof typeof left) => (still: number) => {
      left[kind] = still;
      update(total - left.orders - left.tickets);
    };
    return Promise.all([
      settle(orders, (ids) => lookAtOrders(client, ids), { settleMs, signal, onProgress: onProgress('orders') }),
      settle(tickets, (ids) => lookAtTickets(client, ids), { settleMs, signal, onProgress: onProgress('tickets') }),
    ]);
  });
}

/** Adds where messages about each are, such as `dead at points: order.placed`. */
async function withMessageLocations(client: FactsClient, overdue: readonly Overdue[]) {
  const ids = overdue.map(({ id }) => id);
  const locations = new Map<string, string[]>(ids.map((id) => [id, []]));
  for (const service of serviceNames)
    for (const { subject, place, type } of await client.messagesAbout(service, ids)) {
      const location = place === 'outbox' ? `in the outbox of ${service}` : `${place} at ${service}`;
      locations.get(subject)?.push(`${location}: ${type}`);
    }
  return overdue.map((each) => ({ ...each, messages: locations.get(each.id) ?? [] }));
}
