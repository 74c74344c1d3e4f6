// Candidates are looked at again until they are right or the time to settle is over. Each look reads the order both before
// and after its effects: a violation counts only if it is there both times, so a change seen halfway is none.
import { setTimeout as sleep } from 'node:timers/promises';
import { serviceNames } from '../../../contracts/services.ts';
import type { FactsClient } from './facts-client.ts';
import { judgeOrder } from './judge-order.ts';
import { judgeTicket } from './judge-ticket.ts';
import type { RuleName } from './rules.ts';
import type { Wrong } from './violations.ts';

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 3_000;

export interface SettleOptions {
  readonly settleMs: number;
  readonly signal: AbortSignal;
  readonly onProgress: (left: number) => void;
}

/** Resolves with what is still wrong after `settleMs`, or as soon as nothing is. */
export async function settle(
  wrong: Wrong,
  look: (ids: readonly string[]) => Promise<Wrong>,
  { settleMs, signal, onProgress }: SettleOptions,
): Promise<Wrong> {
  const deadline = performance.now() + settleMs;
  let left = wrong;
  for (let pause = FIRST_PAUSE_MS; left.size > 0; pause = Math.min(LONGEST_PAUSE_MS, pause * 1.5)) {
    onProgress(left.size);
    const rest = deadline - performance.now();
    if (rest > 0) await sleep(Math.min(pause, rest), undefined, { signal });
    left = await look([...left.keys()]);
    if (rest <= pause) return left;
  }
  return left;
}

/** The rules that these orders violate now. */
export async function lookAtOrders(client: FactsClient, ids: readonly string[]): Promise<Wrong> {
  const before = await client.facts('order', ids);
  const [points, coupons, notifications] = await Promise.all([
    client.facts('points', ids),
    client.facts('coupon', ids),
    client.facts('notify', ids),
  ]);
  const after = await client.facts('order', ids);
  const judge = (id: string, orders: typeof before) =>
    judgeOrder({
      order: orders.get(id),
      points: points.get(id),
      coupon: coupons.get(id),
      notify: notifications.get(id),
    });
  const wrong = inBoth(ids, (id) => [judge(id, before), judge(id, after)]);
  return withoutPendingMessages(client, wrong, 'order-unaccounted');
}

/** The rules that these tickets violate now. */
export async function lookAtTickets(client: FactsClient, ids: readonly string[]): Promise<Wrong> {
  const before = await client.facts('order/tickets', ids);
  const tickets = await client.facts('flash-sale/tickets', ids);
  const after = await client.facts('order/tickets', ids);
  const judge = (id: string, orders: typeof before) => judgeTicket({ order: orders.get(id), ticket: tickets.get(id) });
  const wrong = inBoth(ids, (id) => [judge(id, before), judge(id, after)]);
  return withoutPendingMessages(client, wrong, 'ticket-unaccounted');
}

function inBoth(
  ids: readonly string[],
  judge: (id: string) => readonly [RuleName[], RuleName[]],
): Map<string, RuleName[]> {
  const wrong = new Map<string, RuleName[]>();
  for (const id of ids) {
    const [before, after] = judge(id);
    const rules = after.filter((rule) => before.includes(rule));
    if (rules.length > 0) wrong.set(id, rules);
  }
  return wrong;
}

/** No resend is due; but while a message about it waits somewhere, also a retrying or dead one, it is not lost. */
async function withoutPendingMessages(
  client: FactsClient,
  wrong: Map<string, RuleName[]>,
  rule: RuleName,
): Promise<Map<string, RuleName[]>> {
  const unaccounted = [...wrong].flatMap(([id, rules]) => (rules.includes(rule) ? [id] : []));
  const messages = await Promise.all(serviceNames.map((service) => client.messagesAbout(service, unaccounted)));
  for (const { subject } of messages.flat()) {
    const rest = wrong.get(subject)?.filter((each) => each !== rule) ?? [];
    if (rest.length > 0) wrong.set(subject, rest);
    else wrong.delete(subject);
  }
  return wrong;
}
