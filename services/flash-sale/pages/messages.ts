// The texts of pages and problems about a rejection or a ticket, and the formats of numbers, times and prices.
import type { FlashSale, FlashSaleStatus, Rejection, TicketStatus } from '../../../contracts/flash-sales.ts';
import { formatMoney } from '../../../contracts/money.ts';
import type { PaymentOutcome } from '../../../contracts/orders.ts';
import { html, type Markup } from '../../../infra/http/html.ts';

interface Message {
  readonly title: string;
  readonly detail: string;
}

const closed: Message = { title: 'The sale is closed', detail: 'It takes no more orders.' };

const rejected: Readonly<Record<Rejection, Message>> = {
  'queue-full': {
    title: 'The queue is full',
    detail: 'There are units left, but the queue has no free place. Please try again later.',
  },
  'sold-out': {
    title: 'Sold out',
    detail: 'Every unit is sold or held for a buyer. A unit becomes available again if an order fails or is cancelled.',
  },
  'not-open': { title: 'The sale is not open yet', detail: 'Please come back when it opens.' },
};

/** Why a buyer gets no ticket. */
export const rejectionMessage = (reason: Rejection, status: FlashSaleStatus): Message =>
  reason === 'not-open' && status === 'closed' ? closed : rejected[reason];

/** `{position}` stands for the place in the queue, `{wait}` for the time until it is reached: `about(…)`. */
export const ticketMessages: Readonly<Record<TicketStatus, Message>> = {
  queued: {
    title: 'Number {position} in the queue',
    detail: 'A unit is held for you. Your turn is in about {wait}.',
  },
  accepted: { title: 'It is your turn', detail: 'Your order is being placed.' },
  'awaiting-payment': {
    title: 'Your order is waiting for payment',
    detail: 'A unit is held for you. It is yours once you have paid.',
  },
  ordered: { title: 'Ordered', detail: 'Your order is placed, and the unit is yours.' },
  released: {
    title: 'This ticket has ended',
    detail: 'Its order was cancelled or was not paid in time, so the unit went back to the sale.',
  },
  failed: {
    title: 'This ticket has failed',
    detail: 'Sorry, no order could be placed for it, so the unit went back to the sale.',
  },
};

/** What becomes of a payment, on the page of a ticket that awaits one. `not-accepted`: a 4xx without an outcome. */
export const paymentMessages: Readonly<Record<PaymentOutcome | 'not-accepted', string>> = {
  paid: 'You have paid. Your order is being confirmed.',
  declined: 'The payment was declined, and nothing was charged. You can try again.',
  rejected: 'The payment provider does not accept this payment, and nothing was charged. Please try again later.',
  'in-progress':
    'Your payment is in progress: the payment provider has not responded yet. Your order does not expire meanwhile, ' +
    'and you are charged only once. This page shows the result.',
  'not-accepted': 'The request to pay was not accepted, and nothing was charged. You can try again.',
  'not-payable': 'There is nothing to pay: the order is paid, has expired or was cancelled.',
};

const numbers = new Intl.NumberFormat('en');
export const count = (value: number) => numbers.format(value);

/** A duration, rounded up, such as `12 seconds`. `browser/waiting.js` writes it the same way. */
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

/** Name and price. `bdi` keeps a name that is written from right to left from reversing the text after it. */
export const goods = (sale: FlashSale): Markup =>
  html`<bdi>${sale.name}</bdi>, ${formatMoney(sale.unitPrice, sale.currency)}`;
