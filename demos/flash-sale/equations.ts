// The equations that must hold after a sale. The simulator counts the buyers' answers, the service counts the
// sale's events: if possible, the two sides of an equation come from different places, so each can fail.
import type { FlashSale } from '../../contracts/flash-sales.ts';
import { count } from '../shared/terminal.ts';
import type { Ending } from './counters.ts';
import { outcomeNames, type PurchaseOutcome, purchaseOutcomes } from './purchases.ts';
import type { Settings } from './settings.ts';

export interface Totals {
  readonly settings: Pick<Settings, 'buyers' | 'stock' | 'queue'>;
  /** Buyers by final outcome. */
  readonly endings: Readonly<Record<Ending, number>>;
  readonly requests: { readonly sent: number; readonly answered: Readonly<Record<PurchaseOutcome, number>> };
  readonly longestQueue: number;
  readonly sale: Pick<FlashSale, 'stock' | 'counts'>;
  readonly tickets: TicketCounts;
}

/** The buyers' tickets, each read once at the end. */
export interface TicketCounts {
  readonly distinct: number;
  /** Answers with a ticket of another buyer. */
  readonly shared: number;
  /** Buyers with more than one ticket that is neither released nor failed. */
  readonly buyersWithTwo: number;
  readonly ordered: number;
  /** Released or failed: the unit is for sale again. */
  readonly released: number;
  /** In no final state, or not readable. */
  readonly unfinished: number;
  /** Distinct orders of the tickets, each of the buyer who holds the ticket. */
  readonly orders: number;
}

/** Each with its name, its numbers in a `text`, and whether it holds. */
export function equationsOf({ settings, endings, requests, longestQueue, sale, tickets }: Totals) {
  const { buyers, stock, queue } = settings;
  const { sent, answered } = requests;
  const { initial, remaining, held, sold } = sale.stock;
  const { admitted, ordered, released } = sale.counts;
  const { distinct, shared, buyersWithTwo, unfinished, orders } = tickets;
  const rejected = endings['queue-full'] + endings['sold-out'] + endings['not-open'] + endings.overloaded;
  const answers = purchaseOutcomes.reduce((sum, outcome) => sum + answered[outcome], 0);
  const byAnswer = purchaseOutcomes
    .filter((outcome) => answered[outcome] > 0)
    .map((outcome) => `${count(answered[outcome])} ${outcomeNames[outcome]}`);
  const equations: [name: string, text: string, holds: boolean][] = [
    [
      'stock',
      `${count(stock)} = ${count(remaining)} remaining + ${count(held)} held + ${count(sold)} sold`,
      initial === stock && stock === remaining + held + sold && Math.min(remaining, held, sold) >= 0,
    ],
    [
      'admitted',
      `${count(admitted)} = ${count(held)} held + ${count(ordered)} ordered + ${count(released)} released`,
      admitted === held + ordered + released,
    ],
    ['tickets', `${count(distinct)} given to buyers = ${count(admitted)} admitted by the sale`, distinct === admitted],
    [
      'one each',
      `${count(shared)} tickets given to two buyers, ${count(buyersWithTwo)} buyers with two live tickets`,
      shared === 0 && buyersWithTwo === 0,
    ],
    [
      'final',
      `${count(distinct)} tickets = ${count(tickets.ordered)} ordered + ${count(tickets.released)} released, ${count(unfinished)} unfinished`,
      unfinished === 0 && distinct === tickets.ordered + tickets.released,
    ],
    [
      'orders',
      `${count(orders)} orders, each of its ticket's buyer = ${count(tickets.ordered)} ordered tickets = ${count(ordered)} ordered, ${count(sold)} sold by the sale`,
      orders === tickets.ordered && tickets.ordered === ordered && ordered === sold,
    ],
    ['queue', `${count(longestQueue)} at its longest, of at most ${count(queue)}`, longestQueue <= queue],
    ['requests', `${count(sent)} sent = ${byAnswer.join(' + ')}`, sent === answers],
    [
      'buyers',
      `${count(buyers)} = ${count(endings.admitted)} admitted + ${count(rejected)} rejected, ${count(endings.error)} without an answer`,
      buyers === endings.admitted + rejected && endings.error === 0,
    ],
  ];
  return equations.map(([name, text, holds]) => ({ name, text, holds }));
}
