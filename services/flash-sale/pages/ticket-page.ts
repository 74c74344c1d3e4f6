// The page of a ticket. It keeps itself up to date until the ticket's status is final.
import type { FlashSale, Ticket } from '../../../contracts/flash-sales.ts';
import { html } from '../../../infra/http/html.ts';
import { about, count, goods, ticketMessages } from './messages.ts';
import { type Page, page, script } from './page.ts';

const follow = script('ticket.js');

/** How often a browser without scripts loads the page again. */
const refreshSeconds = (waitSeconds: number) => Math.min(10, Math.max(2, Math.ceil(waitSeconds / 4)));

export function ticketPage(sale: FlashSale, ticketId: string, ticket: Ticket): Page {
  const { status, orderId } = ticket;
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
    body: html`<main id="ticket" data-status="${status}" data-position="${position}" data-drain-per-second="${sale.drainPerSecond}" data-sale="${sale.name}" data-messages="${JSON.stringify(ticketMessages)}">
<p>${goods(sale)}</p>
<h1 id="title">${title}</h1>
<p id="detail">${fill(ticketMessages[status].detail)}</p>
<p id="order" ${orderId === undefined && html`hidden`}><a id="order-link" href="${orderId === undefined ? '/orders' : `/orders/${orderId}`}">Order <span id="order-id">${orderId}</span></a></p>
<p id="state" class="quiet ${!isFinal && 'busy'}">${isFinal ? 'This page no longer updates itself.' : 'This page updates itself.'}</p>
<p id="again" ${!isOver && html`hidden`}><a href="/flash-sales/${sale.id}">Try again</a></p>
<p id="announcement" class="heard" role="status"></p>
<p class="quiet">Ticket ${ticketId} · <a href="/flash-sales/${sale.id}">About this sale</a></p>
</main>`,
  });
}
