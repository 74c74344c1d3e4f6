// An audit from its first request to its report: everything is read once. Candidates are checked again until they are
// right or the time to settle is over; candidates that are still wrong become violations. Each check reads the order
// both before and after its effects: a violation counts only if it is there both times, so a change seen halfway is
// none.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fact, FactList, MessagesSummary } from '../../../contracts/facts.ts';
import { type ServiceName, serviceNames } from '../../../contracts/services.ts';
import { withProgress } from '../terminal.ts';
import type { FactsClient } from './facts-client.ts';
import { judgeOrder, judgeTicket } from './judge.ts';
import { type RuleName, rules, type Wrong } from './rules.ts';
import { type Kind, type Overdue, Sweep } from './sweep.ts';

interface AuditOptions {
  readonly client: FactsClient;
  /** By performance.now(). */
  readonly startedAt: number;
  /** How long candidates may take to become right, and orders and tickets to become final. */
  readonly settleMs: number;
  readonly signal: AbortSignal;
}

const MAX_NAMED_OVERDUE = 20;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 3_000;

export type Audit = Awaited<ReturnType<typeof audit>>;

/** Resolves with the report, and the ids of orders and tickets for which a resend may repair something. */
export async function audit(options: AuditOptions) {
  const { client, startedAt, settleMs } = options;
  const sweep = new Sweep(settleMs);
  await withProgress('reading ', undefined, (update) => sweep.run(client, update));
  const { counts, candidates, overdue } = sweep;
  const wrong = await settleBoth(options, 'settling', candidates);
  for (const [id, violated] of [...wrong.orders, ...wrong.tickets])
    for (const rule of violated) sweep.violations.add(rule, id);
  const violations = sweep.violations.list();

  const messages = await Promise.all(serviceNames.map(async (name) => [name, await client.messages(name)] as const));
  const named = [...overdue.orders, ...overdue.tickets].slice(0, MAX_NAMED_OVERDUE);
  const located = await withMessageLocations(client, named);
  const toResend = (kind: Kind) => {
    const repairable = [...wrong[kind]].filter(([, violated]) => violated.some((rule) => rules[rule].repairable));
    return [...new Set([...repairable.map(([id]) => id), ...overdue[kind].map(({ id }) => id)])];
  };
  const report = {
    ok: violations.length === 0,
    tookMs: Math.round(performance.now() - startedAt),
    settleMs,
    counts,
    violations,
    /** The first orders and tickets that take longer than the settle time. */
    overdue: located,
    messages: Object.fromEntries(messages) as Record<ServiceName, MessagesSummary>,
  };
  return { report, toResend: { orders: toResend('orders'), tickets: toResend('tickets') } };
}

/**
 * Resends the requests for what is missing, in events with new ids, and waits until all of it is right,
 * for `settleMs` at most. Leaves out those with a message that an operator has discarded: under a new id, it would be
 * handled after all. Resolves with the numbers of orders and tickets whose requests were resent, and that were left out.
 */
export async function repair(options: AuditOptions, audited: Audit): Promise<{ resent: number; discarded: number }> {
  const { client } = options;
  const { toResend, discarded } = await withoutDiscarded(client, audited.toResend);
  const ordersOfTickets = await client.facts('order/tickets', toResend.tickets);
  const orders = new Set([...toResend.orders, ...[...ordersOfTickets.values()].map(({ orderId }) => orderId)]);
  const withoutOrder = toResend.tickets.filter((id) => !ordersOfTickets.has(id));
  const resent = (await client.resend('order', [...orders])) + (await client.resend('flash-sale', withoutOrder));
  const toCheck = (ids: Iterable<string>): Wrong => new Map([...ids].map((id) => [id, []]));
  await settleBoth(options, 'repairing', { orders: toCheck(orders), tickets: toCheck(toResend.tickets) });
  return { resent, discarded };
}

async function withoutDiscarded(client: FactsClient, toResend: Audit['toResend']) {
  const ids = [...toResend.orders, ...toResend.tickets];
  const messages = await Promise.all(serviceNames.map((service) => client.messagesAbout(service, ids)));
  const discarded = new Set(messages.flat().flatMap(({ subject, place }) => (place === 'discarded' ? [subject] : [])));
  const remaining = (all: readonly string[]) => all.filter((id) => !discarded.has(id));
  return {
    toResend: { orders: remaining(toResend.orders), tickets: remaining(toResend.tickets) },
    discarded: discarded.size,
  };
}

/** Orders and tickets that are still wrong after the settle time. */
function settleBoth({ client, settleMs, signal }: AuditOptions, label: string, wrong: Readonly<Record<Kind, Wrong>>) {
  const left = { orders: wrong.orders.size, tickets: wrong.tickets.size };
  const total = left.orders + left.tickets;
  return withProgress(label, total, async (update) => {
    const settleOf = (kind: Kind, check: typeof checkOrders) => {
      const onProgress = (still: number) => {
        left[kind] = still;
        update(total - left.orders - left.tickets);
      };
      return settle(wrong[kind], (ids) => check(client, ids), { settleMs, signal, onProgress });
    };
    const [orders, tickets] = await Promise.all([settleOf('orders', checkOrders), settleOf('tickets', checkTickets)]);
    return { orders, tickets };
  });
}

/** Resolves with what is still wrong after `settleMs`, or as soon as nothing is. */
export async function settle(
  wrong: Wrong,
  check: (ids: readonly string[]) => Promise<Wrong>,
  { settleMs, signal, onProgress }: { settleMs: number; signal: AbortSignal; onProgress: (left: number) => void },
): Promise<Wrong> {
  const deadline = performance.now() + settleMs;
  let left = wrong;
  for (let pause = FIRST_PAUSE_MS; left.size > 0; pause = Math.min(LONGEST_PAUSE_MS, pause * 1.5)) {
    onProgress(left.size);
    const rest = deadline - performance.now();
    if (rest > 0) await sleep(Math.min(pause, rest), undefined, { signal });
    left = await check([...left.keys()]);
    if (rest <= pause) return left;
  }
  return left;
}

const checkOrders = (client: FactsClient, ids: readonly string[]): Promise<Wrong> =>
  checkTwice(client, ids, { list: 'order', unaccounted: 'order-unaccounted' }, async () => {
    const [points, coupon, notify] = await Promise.all([
      client.facts('points', ids),
      client.facts('coupon', ids),
      client.facts('notify', ids),
    ]);
    return (id, order) => judgeOrder({ order, points: points.get(id), coupon: coupon.get(id), notify: notify.get(id) });
  });

const checkTickets = (client: FactsClient, ids: readonly string[]): Promise<Wrong> =>
  checkTwice(client, ids, { list: 'order/tickets', unaccounted: 'ticket-unaccounted' }, async () => {
    const tickets = await client.facts('flash-sale/tickets', ids);
    return (id, order) => judgeTicket({ order, ticket: tickets.get(id) });
  });

/**
 * The rules that these ids violate now: by the orders in `list`, read both before and after what `readOthers` reads.
 */
async function checkTwice<L extends FactList>(
  client: FactsClient,
  ids: readonly string[],
  { list, unaccounted }: { list: L; unaccounted: RuleName },
  readOthers: () => Promise<(id: string, order: Fact<L> | undefined) => RuleName[]>,
): Promise<Wrong> {
  const before = await client.facts(list, ids);
  const judge = await readOthers();
  const after = await client.facts(list, ids);
  const wrong = new Map<string, RuleName[]>();
  for (const id of ids) {
    const earlier = judge(id, before.get(id));
    const rules = judge(id, after.get(id)).filter((rule) => earlier.includes(rule));
    if (rules.length > 0) wrong.set(id, rules);
  }
  // No resend is due; but while a message about it waits somewhere, also a retrying or dead one, it is not lost.
  const unaccountedIds = ids.filter((id) => wrong.get(id)?.includes(unaccounted));
  const messages = await Promise.all(serviceNames.map((service) => client.messagesAbout(service, unaccountedIds)));
  for (const { subject } of messages.flat()) {
    const rest = wrong.get(subject)?.filter((rule) => rule !== unaccounted) ?? [];
    if (rest.length > 0) wrong.set(subject, rest);
    else wrong.delete(subject);
  }
  return wrong;
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
