// Why there is no ticket, for a browser. While the queue is full or the sale not open yet, the page tries again by itself.
import type { FlashSale, Rejection } from '../../../contracts/flash-sales.ts';
import { html } from '../../../infra/http/html.ts';
import { type Page, page, script } from './page.ts';
import { about, goods, rejectionWords, time } from './words.ts';

const tryAgain = script('rejected.js');

/**
 * `retryAfterSeconds`: for `queue-full` what Retry-After says; for `not-open` how long until the sale opens, by the
 * database's clock. Without it, or when the sale is sold out, the page tries only when it is told to. A sale that has
 * closed meanwhile is shown as closed, whatever the reason was.
 */
export function rejectedPage(
  sale: FlashSale,
  reason: Rejection,
  userId: string,
  retryAfterSeconds: number | undefined,
): Page {
  const isClosed = sale.status === 'closed';
  const hasOpened = reason === 'not-open' && (sale.status === 'open' || sale.status === 'sold-out');
  const { title, detail } = hasOpened
    ? { title: 'The sale has opened', detail: 'It was not open when you asked.' }
    : rejectionWords(isClosed ? 'not-open' : reason, sale.status);
  const wait = isClosed || reason === 'sold-out' ? undefined : retryAfterSeconds;
  const opens = sale.status === 'scheduled' && html`It opens at ${time(sale.opensAt)}.`;
  return page({
    title: `${title} – ${sale.name}`,
    script: tryAgain,
    body: html`<main id="rejected" data-user-id="${userId}" data-sale="${sale.name}" data-wait-seconds="${wait}">
<p>${goods(sale)}</p>
<h1 id="title">${title}</h1>
<p id="detail">${detail} ${opens}</p>
<p id="state">${wait !== undefined && `It is worth another try in about ${about(wait)}.`}</p>
<form id="retry" method="post" action="/flash-sales/${sale.id}/purchases" ${isClosed && html`hidden`}>
<input type="hidden" name="userId" value="${userId}">
<button id="try">Try again now</button>
<button id="stop" type="button" hidden>Stop trying</button>
<p class="quiet">For the user <bdi>${userId}</bdi>.</p>
</form>
<p id="announcement" class="heard" role="status"></p>
<p class="quiet"><a href="/flash-sales/${sale.id}">The sale</a></p>
</main>`,
  });
}
