// Candidates are looked at again until they are right or the time to settle is over. Each look reads the order both before
// and after its effects: a violation counts only if it is there both times, so a change seen halfway is none.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fact, FactList } from '../../../contracts/facts.ts';
import { serviceNames } from '../../../contracts/services.ts';
import type { FactsClient } from './facts-client.ts';
import { judgeOrder } from './judge-order.ts';
import { judgeTicket } from './judge-ticket.ts';
import type { RuleName } from './rules.ts';
import type { Wrong } from './violations.ts';

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 3_000;

/** Resolves with what is still wrong after `settleMs`, or as soon as nothing is. */
export async function settle(
  wrong: Wrong,
  look: (ids: readonly string[]) => Promise<Wrong>,
  { settleMs, signal, onProgress }: { settleMs: number; signal: AbortSignal; onProgress: (left: number) => void },
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

export const lookAtOrders = (client: FactsClient, ids: readonly string[]): Promise<Wrong> =>
  lookTwice(client, ids, { list: 'order', unaccounted: 'order-unaccounted' }, async () => {
    const [points, coupon, notify] = await Promise.all([
      client.facts('points', ids),
      client.facts('coupon', ids),
      client.facts('notify', ids),
    ]);
    return (id, order) => judgeOrder({ order, points: points.get(id), coupon: coupon.get(id), notify: notify.get(id) });
  });

export const lookAtTickets = (client: FactsClient, ids: readonly string[]): Promise<Wrong> =>
  lookTwice(client, ids, { list: 'order/tickets', unaccounted: 'ticket-unaccounted' }, async () => {
    const tickets = await client.facts('flash-sale/tickets', ids);
    return (id, order) => judgeTicket({ order, ticket: tickets.get(id) });
  });

/** The rules that these ids violate now: by the orders in `list`, read both before and after what `readOthers` reads. */
async function lookTwice<L extends FactList>(
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
  const suspected = ids.filter((id) => wrong.get(id)?.includes(unaccounted));
  const messages = await Promise.all(serviceNames.map((service) => client.messagesAbout(service, suspected)));
  for (const { subject } of messages.flat()) {
    const rest = wrong.get(subject)?.filter((rule) => rule !== unaccounted) ?? [];
    if (rest.length > 0) wrong.set(subject, rest);
    else wrong.delete(subject);
  }
  return wrong;
}
