// The second look at what seemed wrong, and the third, until it is right or the time to settle is over. Each looks at the
// order both before and after its effects: what is wrong in both is wrong, and not a change that was seen halfway.
import { setTimeout as sleep } from 'node:timers/promises';
import { serviceNames } from '../../../contracts/services.ts';
import type { FactsClient } from './facts-client.ts';
import { judgeOrder } from './judge-order.ts';
import { judgeTicket } from './judge-ticket.ts';
import type { RuleName } from './rules.ts';

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 3_000;

export type Wrong = ReadonlyMap<string, readonly RuleName[]>;

/** What is still wrong after `settleMs`. Returns sooner where nothing is. */
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

/** What is wrong with these orders now. */
export async function lookAtOrders(client: FactsClient, ids: readonly string[]): Promise<Wrong> {
  const before = await client.facts('order', ids);
  const [points, coupons, notifications] = await Promise.all([
    client.facts('points', ids),
    client.facts('coupon', ids),
    client.facts('notify', ids),
  ]);
  const after = await client.facts('order', ids);
  const wrong = both(ids, (id, first) =>
    judgeOrder({
      ...present('order', (first ? before : after).get(id)),
      ...present('points', points.get(id)),
      ...present('coupon', coupons.get(id)),
      ...present('notify', notifications.get(id)),
    }),
  );
  return exceptAccountedFor(client, wrong, 'order-unaccounted');
}

/** What is wrong with these tickets now. */
export async function lookAtTickets(client: FactsClient, ids: readonly string[]): Promise<Wrong> {
  const before = await client.facts('order/tickets', ids);
  const tickets = await client.facts('flash-sale/tickets', ids);
  const after = await client.facts('order/tickets', ids);
  const wrong = both(ids, (id, first) =>
    judgeTicket({
      ...present('order', (first ? before : after).get(id)),
      ...present('ticket', tickets.get(id)),
    }),
  );
  return exceptAccountedFor(client, wrong, 'ticket-unaccounted');
}

const present = <Name extends string, T>(name: Name, fact: T | undefined): { [K in Name]?: T } =>
  (fact === undefined ? {} : { [name]: fact }) as { [K in Name]?: T };

function both(ids: readonly string[], judge: (id: string, first: boolean) => RuleName[]): Map<string, RuleName[]> {
  const wrong = new Map<string, RuleName[]>();
  for (const id of ids) {
    const first = new Set(judge(id, true));
    const rules = judge(id, false).filter((rule) => first.has(rule));
    if (rules.length > 0) wrong.set(id, rules);
  }
  return wrong;
}

/** Nobody will ask again; but while a message about it waits somewhere, retrying and dead ones too, it is not lost. */
async function exceptAccountedFor(
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
