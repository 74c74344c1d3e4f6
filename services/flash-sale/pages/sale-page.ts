// A flash sale as a browser shows it: what is sold, what is left, and a form to buy one.
import type { FlashSale, FlashSaleStatus } from '../../../contracts/flash-sales.ts';
import { formatMoney } from '../../../contracts/money.ts';
import { html } from '../../../infra/http/html.ts';
import { type Page, page } from './page.ts';
import { count, time } from './words.ts';

const statuses: Readonly<Record<FlashSaleStatus, string>> = {
  scheduled: 'Not open yet',
  open: 'Open',
  'sold-out': 'Sold out; units may come back',
  closed: 'Closed',
};

/** The numbers are those of `sale`; the page does not change by itself, as somebody may be typing into it. */
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
<p class="quiet"><a href="/flash-sales/${sale.id}">Show the numbers as they are now</a></p>
</main>`,
  });
}
