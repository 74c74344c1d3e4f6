// What must hold after a sale. What the buyers were told is counted by the simulator, what the sale says by the service:
// the two sides of an equation come from different places wherever that can be, so that each can fail.
import type { FlashSale } from '../../contracts/flash-sales.ts';
import { count } from '../shared/terminal.ts';
import { outcomeNames, type PurchaseOutcome, purchaseOutcomes } from './purchase-outcome.ts';
import type { Ending } from './tally.ts';

export interface Books {
  readonly buyers: number;
  /** Buyers by how it ended for them. */
  readonly endings: Readonly<Record<Ending, number>>;
  readonly sent: number;
  /** Requests by answer. */
  readonly answered: Readonly<Record<PurchaseOutcome, number>>;
  /** Units that were asked for. */
  readonly stock: number;
  readonly queueCap: number;
  readonly longestQueue: number;
  readonly sale: Pick<FlashSale, 'stock' | 'counts'>;
  readonly tickets: TicketCounts;
}

/** What the buyers hold, each ticket asked for once at the end. */
export interface TicketCounts {
  readonly distinct: number;
  /** Answers with a ticket that another buyer had been given. */
  readonly shared: number;
  /** Buyers with more than one ticket that is not released or failed. */
  readonly buyersWithTwo: number;
  readonly ordered: number;
  /** Released or failed: the unit went back. */
  readonly released: number;
  /** In no final state, or not to be read. */
  readonly unfinished: number;
  /** Different orders of the tickets, each of the buyer who holds the ticket. */
  readonly orders: number;
}

export interface Equation {
  readonly name: string;
  /** With its numbers. */
  readonly text: string;
  readonly holds: boolean;
}

export function equationsOf(books: Books): Equation[] {
  const { buyers, endings, sent, answered, stock, queueCap, longestQueue, sale, tickets } = books;
  const { initial, remaining, held, sold } = sale.stock;
  const { admitted, ordered, released } = sale.counts;
  const rejected = endings['queue-full'] + endings['sold-out'] + endings['not-open'] + endings.overloaded;
  const answers = purchaseOutcomes.reduce((sum, outcome) => sum + answered[outcome], 0);
  return [
    {
      name: 'stock',
      text: `${count(stock)} = ${count(remaining)} remaining + ${count(held)} held + ${count(sold)} sold`,
      holds: initial === stock && stock === remaining + held + sold && Math.min(remaining, held, sold) >= 0,
    },
    {
      name: 'admitted',
      text: `${count(admitted)} = ${count(held)} held + ${count(ordered)} ordered + ${count(released)} released`,
      holds: admitted === held + ordered + released,
    },
    {
      name: 'tickets',
      text: `${count(tickets.distinct)} that buyers were given = ${count(admitted)} that the sale admitted`,
      holds: tickets.distinct === admitted,
    },
    {
      name: 'one each',
      text: `${count(tickets.shared)} tickets given to two buyers, ${count(tickets.buyersWithTwo)} buyers with two live tickets`,
      holds: tickets.shared === 0 && tickets.buyersWithTwo === 0,
    },
    {
      name: 'final',
      text: `${count(tickets.distinct)} tickets = ${count(tickets.ordered)} ordered + ${count(tickets.released)} released + ${count(tickets.unfinished)} unfinished, and none is unfinished`,
      holds: tickets.unfinished === 0 && tickets.distinct === tickets.ordered + tickets.released,
    },
    {
      name: 'orders',
      text: `${count(tickets.orders)} orders, each of its ticket's buyer = ${count(tickets.ordered)} ordered tickets = ${count(ordered)} ordered, ${count(sold)} sold by the sale`,
      holds: tickets.orders === tickets.ordered && tickets.ordered === ordered && ordered === sold,
    },
    {
      name: 'queue',
      text: `${count(longestQueue)} at its longest, of at most ${count(queueCap)}`,
      holds: longestQueue <= queueCap,
    },
    {
      name: 'requests',
      text: `${count(sent)} sent = ${purchaseOutcomes
        .filter((outcome) => answered[outcome] > 0)
        .map((outcome) => `${count(answered[outcome])} ${outcomeNames[outcome]}`)
        .join(' + ')}`,
      holds: sent === answers,
    },
    {
      name: 'buyers',
      text: `${count(buyers)} = ${count(endings.admitted)} admitted + ${count(rejected)} rejected + ${count(endings.error)} without an answer, and none is without`,
      holds: buyers === endings.admitted + rejected && endings.error === 0,
    },
  ];
}
