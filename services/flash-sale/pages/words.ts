// What pages and problems say of a rejection, of a ticket and of numbers.
import type { FlashSale, FlashSaleStatus, Rejection, TicketStatus } from '../../../contracts/flash-sales.ts';
import { formatMoney } from '../../../contracts/money.ts';
import { html, type Markup } from '../../../infra/http/html.ts';

interface Words {
  readonly title: string;
  readonly detail: string;
}

const closed: Words = { title: 'The sale is closed', detail: 'It takes no more buyers.' };

const rejected: Readonly<Record<Rejection, Words>> = {
  'queue-full': { title: 'The queue is full', detail: 'There are units left, but no place to wait. Try again later.' },
  'sold-out': {
    title: 'Sold out',
    detail: 'Every unit is sold or held for a buyer. A unit comes back when an order fails or is cancelled.',
  },
  'not-open': { title: 'The sale is not open yet', detail: 'Nobody can buy before it opens.' },
};

/** Why nobody, or not this buyer, gets a ticket now: the words of the problem and of the page. */
export const rejectionWords = (reason: Rejection, status: FlashSaleStatus): Words =>
  reason === 'not-open' && status === 'closed' ? closed : rejected[reason];

/** `{position}` and `{wait}` stand for the place in the queue and for `about(…)` the time until it is reached. */
export const ticketWords: Readonly<Record<TicketStatus, Words>> = {
  queued: {
    title: 'Number {position} in the queue',
    detail: 'A unit is held for you. It is your turn in about {wait}.',
  },
  accepted: { title: 'It is your turn', detail: 'Your order is being placed.' },
  'awaiting-payment': { title: 'Your order waits to be paid', detail: 'The unit is yours once it is paid.' },
  ordered: { title: 'Ordered', detail: 'Your order is placed, and the unit is yours.' },
  released: {
    title: 'This ticket is over',
    detail: 'Its order was cancelled or ran out of time, so its unit went back to the sale.',
  },
  failed: {
    title: 'This ticket has failed',
    detail: 'No order could be placed for it, so its unit went back to the sale.',
  },
};

const numbers = new Intl.NumberFormat('en');
export const count = (value: number) => numbers.format(value);

/** A duration in words, such as `12 seconds`. `browser/waiting.js` says it in the same words. */
export function about(seconds: number): string {
  const [size, unit] =
    seconds < 90
      ? [1, 'second']
      : seconds < 5_400
        ? [60, 'minute']
        : seconds < 172_800
          ? [3_600, 'hour']
          : [86_400, 'day'];
  const amount = Math.max(1, Math.ceil(seconds / size));
  return `${amount} ${unit}${amount === 1 ? '' : 's'}`;
}

/** `instant` (ISO 8601), to the second, in UTC. */
export const time = (instant: string): Markup =>
  html`<time datetime="${instant}">${new Date(instant).toISOString().slice(0, 19).replace('T', ' ')} UTC</time>`;

/** Names may be written from right to left: `bdi` keeps them from turning what follows. */
export const goods = (sale: FlashSale): Markup =>
  html`<bdi>${sale.name}</bdi>, ${formatMoney(sale.unitPrice, sale.currency)}`;
