// Reads everything once. A mismatch is only a candidate, because the facts of different services, and of different
// pages, are of different moments.
import type { SaleFact } from '../../../contracts/facts.ts';
import type { Page } from '../../../contracts/pages.ts';
import { CliError } from '../errors.ts';
import type { FactsClient } from './facts-client.ts';
import { judgeOrder, judgeSale, judgeTicket, type OrderFacts, type TicketFacts, waiting, waitsFor } from './judge.ts';
import { type RuleName, Violations } from './rules.ts';

/** Orders, and tickets, to check again. Beyond that, a candidate counts as a violation at once. */
export const MAX_CANDIDATES = 10_000;
/** Overdue orders, and tickets, that are kept; with --repair, their requests are resent. */
const MAX_OVERDUE = 10_000;

/** The kinds of candidates. */
export type Kind = 'orders' | 'tickets';

/** An order or a ticket that takes longer than it should. */
export interface Overdue {
  readonly id: string;
  readonly waitsFor: readonly string[];
  readonly sinceMs: number;
  readonly dueInMs: number | null;
}

export class Sweep {
  readonly counts = {
    orders: { confirmed: 0, cancelled: 0, awaitingPayment: 0 },
    points: 0,
    coupons: 0,
    notifications: 0,
    sales: 0,
    tickets: 0,
    /** Not final yet; `overdue`: for longer than the settle time. */
    underWay: { orders: 0, tickets: 0, overdue: 0 },
  };
  /** To be checked again, with the rules that each seems to violate. */
  readonly candidates: Record<Kind, Map<string, readonly RuleName[]>> = { orders: new Map(), tickets: new Map() };
  /** Certain violations, and candidates beyond the limit. */
  readonly violations = new Violations();
  readonly overdue: Record<Kind, Overdue[]> = { orders: [], tickets: [] };
  readonly #settleMs: number;

  constructor(settleMs: number) {
    this.#settleMs = settleMs;
  }

  /** `onProgress` gets the number of orders and tickets that were read so far. */
  async run(client: FactsClient, onProgress: (read: number) => void): Promise<void> {
    let done = 0;
    await mergeJoin<OrderFacts>(
      {
        order: client.pages('order'),
        points: client.pages('points'),
        coupon: client.pages('coupon'),
        notify: client.pages('notify'),
      },
      (id, facts) => {
        onProgress(++done);
        this.#visitOrder(id, facts);
      },
    );
    await mergeJoin<TicketFacts>(
      { ticket: client.pages('flash-sale/tickets'), order: client.pages('order/tickets') },
      (id, facts) => {
        onProgress(++done);
        this.#visitTicket(id, facts);
      },
    );
    // A sale's row and its tickets are of one moment, so a violation needs no second check.
    await mergeJoin<{ sale: SaleFact }>({ sale: client.pages('flash-sale') }, (_, { sale }) => {
      if (!sale) return;
      this.counts.sales++;
      for (const violation of judgeSale(sale)) this.violations.add(...violation);
    });
  }

  #visitOrder(id: string, facts: Partial<OrderFacts>): void {
    const { order, points, coupon, notify } = facts;
    const { counts } = this;
    if (order?.state === 'confirmed') counts.orders.confirmed++;
    else if (order?.state === 'cancelled') counts.orders.cancelled++;
    else if (order) counts.orders.awaitingPayment++;
    if (points) counts.points += points.awards + points.revokes;
    if (coupon) counts.coupons += coupon.active + coupon.revoked + coupon.skipped;
    if (notify) counts.notifications += notify.placed + notify.cancelled;
    if (order?.open) {
      counts.underWay.orders++;
      // A buyer is late only after the time to pay is over; a provider is late as soon as a charge had to be retried.
      const inTime = order.state === 'awaiting-payment' || (order.state === 'paying' && order.chargeRetries === 0);
      const sinceMs = inTime ? -(order.dueInMs ?? 0) : order.sinceMs;
      this.#addIfOverdue('orders', { id, waitsFor: waitsFor(order), sinceMs, dueInMs: order.dueInMs });
    }
    this.#addCandidate('orders', id, judgeOrder(facts));
  }

  #visitTicket(id: string, facts: Partial<TicketFacts>): void {
    const { ticket, order } = facts;
    if (ticket) this.counts.tickets++;
    if (ticket && waiting(ticket.status)) {
      this.counts.underWay.tickets++;
      // If the order waits for payment, or for its unit to be released, the order is what is listed as overdue.
      const { sinceMs, dueInMs } = ticket;
      const waitsFor = [order ? 'the outcome of its order' : 'its order'];
      if (!order || order.state === 'confirmed') this.#addIfOverdue('tickets', { id, waitsFor, sinceMs, dueInMs });
    }
    this.#addCandidate('tickets', id, judgeTicket(facts));
  }

  #addCandidate(kind: Kind, id: string, wrong: readonly RuleName[]): void {
    if (wrong.length === 0) return;
    const candidates = this.candidates[kind];
    if (candidates.size < MAX_CANDIDATES) candidates.set(id, wrong);
    else for (const rule of wrong) this.violations.add(rule, id);
  }

  #addIfOverdue(kind: Kind, entry: Overdue): void {
    if (entry.sinceMs < this.#settleMs) return;
    this.counts.underWay.overdue++;
    if (this.overdue[kind].length < MAX_OVERDUE) this.overdue[kind].push(entry);
  }
}

type Identified = { readonly id: string };
/** Reads the page after that id, or the first one. */
type ReadPage<T> = (after: string | undefined) => Promise<Page<T>>;

async function* inOrder<T extends Identified>(name: string, read: ReadPage<T>): AsyncGenerator<T, undefined> {
  let before = '';
  for (let coming: Promise<Page<T>> | undefined = read(undefined); coming; ) {
    const { items, next }: Page<T> = await coming;
    coming = next === null ? undefined : read(next);
    coming?.catch(() => {}); // reported when this page is needed
    for (const item of items) {
      if (item.id <= before) throw new CliError(`${name}: ${item.id} comes after ${before}`);
      before = item.id;
      yield item;
    }
  }
}

/**
 * A merge join of streams of facts, each in the order of its ids: calls `visit` for each id in any of the streams, in
 * that order, with the facts about it. Rejects if a stream cannot be read or is out of order. Two pages of each are in
 * memory: the current one, and the next one, which is requested ahead.
 */
export async function mergeJoin<Facts extends Record<string, Identified>>(
  reads: { readonly [Name in keyof Facts]: ReadPage<Facts[Name]> },
  visit: (id: string, facts: Partial<Facts>) => void,
): Promise<void> {
  const names = Object.keys(reads) as (keyof Facts & string)[];
  const streams = await Promise.all(
    names.map(async (name) => {
      const items = inOrder<Facts[typeof name]>(name, reads[name]);
      return { name, items, head: (await items.next()).value };
    }),
  );
  for (;;) {
    let id: string | undefined;
    for (const { head } of streams) if (head && (id === undefined || head.id < id)) id = head.id;
    if (id === undefined) return;
    const facts: Partial<Facts> = {};
    for (const stream of streams) {
      if (stream.head?.id !== id) continue;
      facts[stream.name] = stream.head;
      stream.head = (await stream.items.next()).value;
    }
    visit(id, facts);
  }
}
