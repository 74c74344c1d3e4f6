// Judges a flash sale's tickets beside the orders that were placed for them, and its totals beside its tickets. Pure
// functions.
import type { SaleFact, TicketFact, TicketOrderFact } from '../../../contracts/facts.ts';
import { isDue, type Seen, violated } from './judge-order.ts';
import type { RuleName } from './rules.ts';

export type TicketFacts = { ticket: TicketFact; order: TicketOrderFact };

export function judgeTicket({ ticket, order }: Seen<TicketFacts>): RuleName[] {
  if (!ticket) return order ? ['order-without-ticket'] : [];
  if (!order) return judgeWithoutOrder(ticket);
  const { orderId, userId } = ticket;
  return [
    ...violated({
      'ticket-orders-doubled': order.orders > 1,
      'ticket-other-order': order.orders <= 1 && orderId !== null && orderId !== order.orderId,
      'ticket-other-user': order.userId !== userId,
    }),
    ...judgeWithOrder(ticket, order),
  ];
}

function judgeWithoutOrder({ status, orderId, dueInMs }: TicketFact): RuleName[] {
  if (status === 'ordered' || orderId !== null) return ['ticket-without-order'];
  return waiting(status) && !isDue(dueInMs) ? ['ticket-unaccounted'] : [];
}

function judgeWithOrder({ status, dueInMs }: TicketFact, { state, stockReleasePending }: TicketOrderFact): RuleName[] {
  switch (status) {
    case 'queued':
    case 'failed':
      return ['ticket-too-early'];
    case 'released':
      return state === 'cancelled' ? [] : ['stock-released'];
    case 'ordered':
      if (state === 'cancelled') return stockReleasePending ? [] : ['stock-not-released'];
      return state === 'confirmed' ? [] : ['ticket-not-confirmed'];
    case 'accepted':
    case 'awaiting-payment':
      if (state === 'cancelled' && !stockReleasePending) return ['stock-not-released'];
      return isDue(dueInMs) ? [] : ['ticket-unaccounted'];
  }
}

export const waiting = (status: TicketFact['status']) => status === 'accepted' || status === 'awaiting-payment';

/** The rules that a sale violates, each with the sale and the number or user that is wrong. */
export function judgeSale({ id, stock, remaining, queueCap, row, tickets }: SaleFact): [RuleName, string][] {
  const wrong: [RuleName, string][] = [];
  if (remaining + row.held + row.sold !== stock)
    wrong.push(['sale-stock', `${id}: ${stock} = ${remaining} + ${row.held} + ${row.sold}`]);
  for (const [name, units] of Object.entries({ remaining, ...row }))
    if (units < 0) wrong.push(['sale-negative', `${id}: ${name} ${units}`]);
  if (row.queued > queueCap) wrong.push(['sale-over-cap', `${id}: ${row.queued} of ${queueCap}`]);
  for (const [name, units] of Object.entries(row) as [keyof typeof row, number][])
    if (units !== tickets[name])
      wrong.push(['sale-totals', `${id}: ${name} ${units}, by its tickets ${tickets[name]}`]);
  if (tickets.lastNumber !== tickets.admitted)
    wrong.push(['sale-totals', `${id}: ${tickets.admitted} tickets, the last one has number ${tickets.lastNumber}`]);
  for (const user of tickets.doubledUsers) wrong.push(['ticket-doubled', `${id}: ${user}`]);
  return wrong;
}
