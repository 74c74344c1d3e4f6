// The pages for a browser: of a sale, of a ticket, and of a rejection.
import type { FlashSale, FlashSaleStatus, Rejection, Ticket } from '../../../contracts/flash-sales.ts';
import { formatMoney } from '../../../contracts/money.ts';
import type { PaymentOutcome } from '../../../contracts/orders.ts';
import { html, type Markup } from '../../../infra/http/html.ts';
import { about, count, goods, paymentMessages, rejectionMessage, ticketMessages, time } from './messages.ts';
import { type Page, page, script } from './page.ts';

const statuses: Readonly<Record<FlashSaleStatus, string>> = {
  scheduled: 'Not open yet',
  open: 'Open',
  'sold-out': 'Sold out, but units may become available again',
  closed: 'Closed',
};

/** The path under which the browser reaches a path of this server: see pathFor. */
type Link = (path: string) => string;

const userIdInput = html`<label for="user-id">Your user id</label>
<input id="user-id" name="userId" required maxlength="64" pattern="[A-Za-z0-9_.:@\\-]+" autocomplete="username" autocapitalize="none" spellcheck="false" aria-describedby="user-id-hint">
<p id="user-id-hint" class="quiet">Up to 64 letters, digits and _ . : @ -</p>`;

/**
 * The product, the units left, and a form to buy one. The page does not refresh itself, because a buyer may be typing
 * into its form. `buyer`: who buys; undefined: the form asks.
 */
export function salePage(sale: FlashSale, link: Link, buyer?: string): Page {
  const { stock, queue, status } = sale;
  const path = link(`/flash-sales/${sale.id}`);
  return page({
    title: `${sale.name} – flash sale`,
    body: html`<main>
<h1><bdi>${sale.name}</bdi></h1>
<p class="price">${formatMoney(sale.unitPrice, sale.currency)}</p>
<dl>
<div><dt>Status</dt><dd>${statuses[status]}</dd></div>
<div><dt>Left</dt><dd>${count(stock.remaining)} of ${count(stock.initial)}</dd></div>
<div><dt>Queue</dt><dd>${count(queue.length)} of ${count(queue.cap)} places taken</dd></div>
${status === 'scheduled' && html`<div><dt>Opens</dt><dd>${time(sale.opensAt)}</dd></div>`}
${sale.closesAt !== null && html`<div><dt>Closes</dt><dd>${time(sale.closesAt)}</dd></div>`}
</dl>
${
  status !== 'closed' &&
  html`<form method="post" action="${path}/purchases">
${buyer === undefined ? userIdInput : html`<p>You buy as <bdi>${buyer}</bdi>.</p>`}
<button>Buy one</button>
</form>`
}
<p class="quiet"><a href="${path}">Show the current numbers</a></p>
</main>`,
  });
}

const tryAgain = script('rejected.js');

/**
 * Explains to a browser why there is no ticket. The page tries again while the queue is full or the sale is not open. A
 * sale that has closed since the rejection is shown as closed. `retryAfter`: in seconds, as in Retry-After. If it is
 * unset or the sale is sold out, the page tries again only when the buyer asks it to.
 */
export function rejectedPage(
  sale: FlashSale,
  { reason, userId, retryAfter }: { reason: Rejection; userId: string; retryAfter?: number | undefined },
  link: Link,
): Page {
  const path = link(`/flash-sales/${sale.id}`);
  const isClosed = sale.status === 'closed';
  const hasOpened = reason === 'not-open' && (sale.status === 'open' || sale.status === 'sold-out');
  const { title, detail } = hasOpened
    ? { title: 'The sale has opened', detail: 'It was not open yet when you tried.' }
    : rejectionMessage(isClosed ? 'not-open' : reason, sale.status);
  const wait = isClosed || reason === 'sold-out' ? undefined : retryAfter;
  const opens = sale.status === 'scheduled' && html`It opens at ${time(sale.opensAt)}.`;
  return page({
    title: `${title} – ${sale.name}`,
    script: tryAgain,
    body: html`<main id="rejected" data-user-id="${userId}" data-sale="${sale.name}" data-wait-seconds="${wait}">
<p>${goods(sale)}</p>
<h1 id="title">${title}</h1>
<p id="detail">${detail} ${opens}</p>
<p id="state">${wait !== undefined && `Please try again in about ${about(wait)}.`}</p>
<form id="retry" method="post" action="${path}/purchases" ${isClosed && html`hidden`}>
<input type="hidden" name="userId" value="${userId}">
<button id="try">Try again now</button>
<button id="stop" type="button" hidden>Stop trying</button>
<p class="quiet">Your user id: <bdi>${userId}</bdi></p>
</form>
<p id="announcement" class="heard" role="status"></p>
<p class="quiet"><a href="${path}">About this sale</a></p>
</main>`,
  });
}

const follow = script('ticket.js');

/** How often a browser without scripts loads the page again. */
const refreshSeconds = (waitSeconds: number) => Math.min(10, Math.max(2, Math.ceil(waitSeconds / 4)));

interface ShownTicket extends Ticket {
  readonly id: string;
  /** What became of the payment that the page's form has just sent. */
  readonly payment?: PaymentOutcome | undefined;
}

/** The form to pay for the order of a ticket, and what becomes of the payment. */
function paymentForm(sale: FlashSale, { id, status, orderId, payment }: ShownTicket, link: Link): Markup {
  const isDue = status === 'awaiting-payment' && orderId !== undefined;
  const canPay = isDue && payment !== 'paid' && payment !== 'not-payable';
  const state = payment ? paymentMessages[payment] : `You have ${about(sale.holdSeconds)} from your turn to pay.`;
  const path = link('/orders');
  const action = orderId === undefined ? path : `${path}/${orderId}/pay`;
  return html`<form id="pay" method="post" action="${action}" ${!canPay && html`hidden`}>
<input type="hidden" name="returnTo" value="/flash-sales/${sale.id}/purchases/${id}">
<button>Pay ${formatMoney(sale.unitPrice, sale.currency)}</button>
</form>
<p id="payment" ${!isDue && html`hidden`}>${state}</p>`;
}

/** The page of a ticket. It keeps itself up to date until the ticket's status is final. */
export function ticketPage(sale: FlashSale, ticket: ShownTicket, link: Link): Page {
  const { status, orderId } = ticket;
  const path = link(`/flash-sales/${sale.id}`);
  const orders = link('/orders');
  const position = ticket.position ?? 1;
  const waitSeconds = status === 'queued' ? position / sale.drainPerSecond : 0;
  const fill = (text: string) => text.replace('{position}', count(position)).replace('{wait}', about(waitSeconds));
  const title = fill(ticketMessages[status].title);
  const isOver = status === 'released' || status === 'failed';
  const isFinal = isOver || status === 'ordered';
  return page({
    title: `${title} – ${sale.name}`,
    script: follow,
    refreshSeconds: isFinal ? undefined : refreshSeconds(waitSeconds),
    body: html`<main id="ticket" data-status="${status}" data-position="${position}" data-drain-per-second="${sale.drainPerSecond}" data-sale="${sale.name}" data-messages="${JSON.stringify(ticketMessages)}" data-orders="${orders}" data-payment-messages="${JSON.stringify(paymentMessages)}">
<p>${goods(sale)}</p>
<h1 id="title">${title}</h1>
<p id="detail">${fill(ticketMessages[status].detail)}</p>
<p id="order" ${orderId === undefined && html`hidden`}><a id="order-link" href="${orderId === undefined ? orders : `${orders}/${orderId}`}">Order <span id="order-id">${orderId}</span></a></p>
${paymentForm(sale, ticket, link)}
<p id="state" class="quiet ${!isFinal && 'busy'}">${isFinal ? 'This page no longer updates itself.' : 'This page updates itself.'}</p>
<p id="again" ${!isOver && html`hidden`}><a href="${path}">Try again</a></p>
<p id="announcement" class="heard" role="status"></p>
<p class="quiet">Ticket ${ticket.id} · <a href="${path}">About this sale</a></p>
</main>`,
  });
}
