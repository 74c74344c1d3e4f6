// Reads everything once. What looks wrong is only suspected: the facts of different services, and of different pages, are
// of different moments.
import type { SaleFact } from '../../../contracts/facts.ts';
import type { FactsClient } from './facts-client.ts';
import { judgeOrder, type OrderFacts, waitsFor } from './judge-order.ts';
import { judgeSale, judgeTicket, type TicketFacts, waiting } from './judge-ticket.ts';
import { mergeJoin } from './merge-join.ts';
import { Offences, Suspects } from './offences.ts';

/** Orders, and tickets, that are looked at again; those beyond are offences as they were seen. */
const MAX_SUSPECTS = 10_000;
/** Orders under way that are named, and, with --repair, requested again. */
const MAX_OVERDUE = 10_000;

/** An order or a ticket that is under way for longer than that should take. */
export interface Overdue {
  readonly id: string;
  readonly waitsFor: readonly string[];
  readonly sinceMs: number;
  readonly dueInMs: number | null;
}

export interface Counts {
  orders: { firm: number; cancelled: number; awaitingPayment: number };
  points: number;
  coupons: number;
  notifications: number;
  sales: number;
  tickets: number;
  /** Not at their end yet; `overdue`, of those, for longer than the settle time. */
  underWay: { orders: number; tickets: number; overdue: number };
}

export interface Sweep {
  readonly counts: Counts;
  readonly orders: Suspects;
  readonly tickets: Suspects;
  /** What is known for sure, and what there was no room to look at again. */
  readonly offences: Offences;
  readonly overdueOrders: readonly Overdue[];
  readonly overdueTickets: readonly Overdue[];
}

/** `onProgress` is told how many orders and tickets were looked at so far. */
export async function sweep(client: FactsClient, settleMs: number, onProgress: (seen: number) => void): Promise<Sweep> {
  const counts: Counts = {
    orders: { firm: 0, cancelled: 0, awaitingPayment: 0 },
    points: 0,
    coupons: 0,
    notifications: 0,
    sales: 0,
    tickets: 0,
    underWay: { orders: 0, tickets: 0, overdue: 0 },
  };
  const offences = new Offences();
  const orders = new Suspects(MAX_SUSPECTS);
  const tickets = new Suspects(MAX_SUSPECTS);
  const overdueOrders: Overdue[] = [];
  const overdueTickets: Overdue[] = [];
  const overdue = (list: Overdue[], entry: Overdue) => {
    if (entry.sinceMs < settleMs) return;
    counts.underWay.overdue++;
    if (list.length < MAX_OVERDUE) list.push(entry);
  };
  let seen = 0;

  await mergeJoin<OrderFacts>(
    {
      order: (after) => client.page('order', after),
      points: (after) => client.page('points', after),
      coupon: (after) => client.page('coupon', after),
      notify: (after) => client.page('notify', after),
    },
    (id, facts) => {
      onProgress(++seen);
      countOrder(counts, facts);
      const { order } = facts;
      if (order?.open) {
        counts.underWay.orders++;
        // A buyer is not late before the time to pay is over; a provider that had to be asked again is.
        const waits = order.state === 'awaiting-payment' || (order.state === 'paying' && order.chargeRetries === 0);
        const sinceMs = waits ? -(order.dueInMs ?? 0) : order.sinceMs;
        overdue(overdueOrders, { id, waitsFor: waitsFor(order), sinceMs, dueInMs: order.dueInMs });
      }
      const wrong = judgeOrder(facts);
      if (wrong.length > 0 && !orders.add(id, wrong)) for (const rule of wrong) offences.add(rule, id);
    },
  );

  await mergeJoin<TicketFacts>(
    {
      ticket: (after) => client.page('flash-sale/tickets', after),
      order: (after) => client.page('order/tickets', after),
    },
    (id, facts) => {
      onProgress(++seen);
      const { ticket, order } = facts;
      if (ticket) counts.tickets++;
      if (ticket && waiting(ticket.status)) {
        counts.underWay.tickets++;
        // Of one whose order waits for payment, or for its unit to be back, the order tells.
        const { sinceMs, dueInMs } = ticket;
        if (!order) overdue(overdueTickets, { id, waitsFor: ['its order'], sinceMs, dueInMs });
        else if (order.state === 'firm')
          overdue(overdueTickets, { id, waitsFor: ['word that its order is placed'], sinceMs, dueInMs });
      }
      const wrong = judgeTicket(facts);
      if (wrong.length > 0 && !tickets.add(id, wrong)) for (const rule of wrong) offences.add(rule, id);
    },
  );

  // A sale's row and its tickets are of one moment: what is wrong there needs no second look.
  await mergeJoin<{ sale: SaleFact }>({ sale: (after) => client.page('flash-sale', after) }, (_, { sale }) => {
    if (!sale) return;
    counts.sales++;
    for (const [rule, what] of judgeSale(sale)) offences.add(rule, what);
    const { doubled, doubledUsers } = sale.tickets;
    const unnamed = doubled - doubledUsers.length;
    if (unnamed > 0) offences.add('ticket-doubled', `${sale.id}: ${unnamed} more users`, unnamed);
  });
  return { counts, orders, tickets, offences, overdueOrders, overdueTickets };
}

function countOrder(counts: Counts, { order, points, coupon, notify }: Partial<OrderFacts>): void {
  if (order?.state === 'firm') counts.orders.firm++;
  else if (order?.state === 'cancelled') counts.orders.cancelled++;
  else if (order) counts.orders.awaitingPayment++;
  if (points) counts.points += points.awards + points.revokes;
  if (coupon) counts.coupons += coupon.active + coupon.revoked + coupon.skipped;
  if (notify) counts.notifications += notify.placed + notify.cancelled;
}
