// Where a ticket stands. The page follows it by itself until it is an order or over.
import type { FlashSale, Ticket } from '../../../contracts/flash-sales.ts';
import { html } from '../../../infra/http/html.ts';
import { type Page, page, script } from './page.ts';
import { about, count, goods, ticketWords } from './words.ts';

const follow = script('ticket.js');

/** Without scripts: once in so many seconds. */
const refreshSeconds = (waitSeconds: number) => Math.min(10, Math.max(2, Math.ceil(waitSeconds / 4)));

export function ticketPage(sale: FlashSale, ticketId: string, ticket: Ticket): Page {
  const { status, orderId } = ticket;
  const position = ticket.position ?? 1;
  const waitSeconds = status === 'queued' ? position / sale.drainPerSecond : 0;
  const fill = (words: string) => words.replace('{position}', count(position)).replace('{wait}', about(waitSeconds));
  const title = fill(ticketWords[status].title);
  const isOver = status === 'released' || status === 'failed';
  const isFinal = isOver || status === 'ordered';
  return page({
    title: `${title} – ${sale.name}`,
    script: follow,
    refreshSeconds: isFinal ? undefined : refreshSeconds(waitSeconds),
    body: html`<main id="ticket" data-status="${status}" data-position="${position}" data-drain-per-second="${sale.drainPerSecond}" data-sale="${sale.name}" data-words="${JSON.stringify(ticketWords)}">
<p>${goods(sale)}</p>
<h1 id="title">${title}</h1>
<p id="detail">${fill(ticketWords[status].detail)}</p>
<p id="order" ${orderId === undefined && html`hidden`}><a id="order-link" href="${orderId === undefined ? '/orders' : `/orders/${orderId}`}">Order <span id="order-id">${orderId}</span></a></p>
<p id="state" class="quiet ${!isFinal && 'busy'}">${isFinal ? 'Nothing more will happen here.' : 'This page keeps itself up to date.'}</p>
<p id="again" ${!isOver && html`hidden`}><a href="/flash-sales/${sale.id}">Try again</a></p>
<p id="announcement" class="heard" role="status"></p>
<p class="quiet">Ticket ${ticketId} · <a href="/flash-sales/${sale.id}">The sale</a></p>
</main>`,
  });
}
