// Explains to a browser why there is no ticket. The page tries again while the queue is full or the sale is not open.
import type { FlashSale, Rejection } from '../../../contracts/flash-sales.ts';
import { html } from '../../../infra/http/html.ts';
import { about, goods, rejectionMessage, time } from './messages.ts';
import { type Page, page, script } from './page.ts';

const tryAgain = script('rejected.js');

/**
 * A sale that has closed since the rejection is shown as closed. `retryAfter`: in seconds, as in Retry-After. If it is
 * unset, and if the sale is sold out, the page tries only when the buyer asks it to.
 */
export function rejectedPage(
  sale: FlashSale,
  { reason, userId, retryAfter }: { reason: Rejection; userId: string; retryAfter?: number | undefined },
): Page {
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
<form id="retry" method="post" action="/flash-sales/${sale.id}/purchases" ${isClosed && html`hidden`}>
<input type="hidden" name="userId" value="${userId}">
<button id="try">Try again now</button>
<button id="stop" type="button" hidden>Stop trying</button>
<p class="quiet">Your user id: <bdi>${userId}</bdi></p>
</form>
<p id="announcement" class="heard" role="status"></p>
<p class="quiet"><a href="/flash-sales/${sale.id}">About this sale</a></p>
</main>`,
  });
}
