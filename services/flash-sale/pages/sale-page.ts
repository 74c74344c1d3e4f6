// The page of a flash sale: the product, the units left, and a form to buy one.
import type { FlashSale, FlashSaleStatus } from '../../../contracts/flash-sales.ts';
import { formatMoney } from '../../../contracts/money.ts';
import { html } from '../../../infra/http/html.ts';
import { count, time } from './messages.ts';
import { type Page, page } from './page.ts';

const statuses: Readonly<Record<FlashSaleStatus, string>> = {
  scheduled: 'Not open yet',
  open: 'Open',
  'sold-out': 'Sold out, but units may become available again',
  closed: 'Closed',
};

/** The page does not refresh itself, because a buyer may be typing into its form. */
export function salePage(sale: FlashSale): Page {
  const { stock, queue, status } = sale;
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
  html`<form method="post" action="/flash-sales/${sale.id}/purchases">
<label for="user-id">Your user id</label>
<input id="user-id" name="userId" required maxlength="64" pattern="[A-Za-z0-9_.:@\\-]+" autocomplete="username" autocapitalize="none" spellcheck="false" aria-describedby="user-id-hint">
<p id="user-id-hint" class="quiet">Up to 64 letters, digits and _ . : @ -</p>
<button>Buy one</button>
</form>`
}
<p class="quiet"><a href="/flash-sales/${sale.id}">Show the current numbers</a></p>
</main>`,
  });
}
