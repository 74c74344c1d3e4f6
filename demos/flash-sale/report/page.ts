// The report as one self-contained HTML page: no scripts, no fonts, no pictures from elsewhere.

import { html, Markup } from '../../../infra/http/html.ts';
import { chartStyle } from '../../shared/svg.ts';
import { count, duration } from '../../shared/terminal.ts';
import { panelElement } from '../../shared/time-chart.ts';
import { fairnessSentence } from '../fairness.ts';
import { outcomeNames, rejectedOutcomes } from '../purchases.ts';
import type { Series } from '../series.ts';
import { failures, outcomeRows, perSecond, type Summary, sumOfRejections } from '../summary.ts';
import { panelsOf, seconds } from './charts.ts';

const pageStyle = `
  :root { color-scheme: light dark; }
  body { margin: 0 auto; padding: 1.5rem; max-width: 60rem; background: #ffffff; color: #1f2328;
    font: 16px/1.5 system-ui, sans-serif; }
  h1 { font-size: 1.6rem; margin: 0 0 0.25rem; }
  h2 { font-size: 1.2rem; margin: 2rem 0 0.5rem; }
  .dim, caption { color: #59636e; }
  .verdict { font-weight: 600; }
  .holds { color: #1a7f37; }
  .fails { color: #cf222e; }
  dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 0.75rem; margin: 1rem 0; }
  dl > div { border: 1px solid #d1d9e0; border-radius: 6px; padding: 0.5rem 0.75rem; }
  dt { color: #59636e; font-size: 0.85rem; }
  dd { margin: 0; font-size: 1.15rem; font-weight: 600; white-space: nowrap; font-variant-numeric: tabular-nums; }
  figure { margin: 0 0 0.75rem; break-inside: avoid; }
  figure svg { display: block; width: 100%; height: auto; }
  figcaption { color: #59636e; font-size: 0.85rem; padding-left: 0.75rem; }
  .wide { overflow-x: auto; }
  table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
  caption { text-align: left; padding-bottom: 0.25rem; font-size: 0.85rem; }
  th, td { padding: 0.2rem 0.6rem; border-bottom: 1px solid #d1d9e0; text-align: right; font-weight: normal; }
  thead th { color: #59636e; }
  th:first-child, td.text { text-align: left; }
  th:first-child { white-space: nowrap; }
  summary { cursor: pointer; }
  @media screen and (prefers-color-scheme: dark) {
    body { background: #0d1117; color: #f0f6fc; }
    .dim, caption, dt, figcaption, thead th { color: #9198a1; }
    .holds { color: #3fb950; }
    .fails { color: #f85149; }
    dl > div, th, td { border-color: #3d444d; }
  }
  @media print {
    :root { color-scheme: light; }
    body { padding: 0; max-width: none; font-size: 11pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
    details { display: none; }
    table, dl { break-inside: avoid; }
  }`;

export function reportPage(summary: Summary, series: Series): string {
  const { settings, fairness, saleId, url } = summary;
  const title = `Flash sale: ${count(settings.buyers)} buyers for ${count(settings.stock)} units`;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${new Markup(pageStyle + chartStyle)}
</style>
</head>
<body>
<main>
<h1>${title}</h1>
<p>A queue of ${count(settings.queue)} that drains at ${count(settings.drain)} per second; the buyers came within ${settings.seconds} s of the opening. <span class="dim">Seed ${settings.seed}; sale ${saleId} at ${url}.</span></p>
${verdict(summary)}
${facts(summary)}
<h2>The sale over time</h2>
${panelsOf(summary, series).map(
  (panel) =>
    html`<figure>\n${new Markup(panelElement(panel, series))}\n<figcaption>${panel.description}</figcaption>\n</figure>\n`,
)}
<h2>Buyers and requests</h2>
${answers(summary)}
${fairness !== null && html`<h2>Fairness</h2>\n<p>${fairnessSentence(fairness)} <span class="dim">Rank correlation of arrival and order: ${fairness.rankCorrelation.toFixed(4)}, over ${count(fairness.orders)} orders.</span></p>`}
<h2>Totals</h2>
${equations(summary)}
<h2>Figures</h2>
${figures(series)}
</main>
</body>
</html>
`;
  return page.text;
}

function verdict(summary: Summary): Markup {
  const failed = failures(summary);
  return failed.length === 0
    ? html`<p class="verdict holds">Every equation holds.</p>`
    : html`<p class="verdict fails">Does not hold: ${failed.map(({ name }) => name).join(', ')}.</p>`;
}

function facts(summary: Summary): Markup {
  const { settings, buyers, tickets, longestQueue } = summary;
  const list: readonly [string, string][] = [
    ['Ordered', `${count(tickets.ordered)} of ${count(settings.stock)}`],
    ['Orders', perSecond(summary.ordersPerSecond)],
    ['Buyers rejected', count(buyers.total - buyers.admitted - buyers.unanswered)],
    ['Requests rejected', count(sumOfRejections(summary))],
    ['Rejections', perSecond(summary.rejectionsPerSecond)],
    ['Longest queue', `${count(longestQueue)} of ${count(settings.queue)}`],
  ];
  return html`<dl>\n${list.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>\n`)}</dl>`;
}

function answers(summary: Summary): Markup {
  const { connections, longestWaitMs } = summary;
  return table(
    `Buyers by final outcome, requests by answer. Times count from the buyer's arrival, including the wait for one of ${connections} connections (at most ${duration(longestWaitMs)}).`,
    ['Answer', 'Buyers', 'Requests', 'p50', 'p95', 'p99', 'Longest'],
    outcomeRows(summary),
  );
}

function equations({ equations: all }: Summary): Markup {
  const rows = all.map(
    ({ name, text, holds }) =>
      html`<tr><th scope="row">${name}</th><td class="text">${text}</td><td class="${holds ? 'holds' : 'fails'}">${holds ? 'holds' : 'DOES NOT HOLD'}</td></tr>\n`,
  );
  return html`<div class="wide"><table><tbody>\n${rows}</tbody></table></div>`;
}

function figures(series: Series): Markup {
  const { fromMs, stepMs, arrivals, returns, rejected, orders } = series;
  const head = ['From', 'First attempts', 'Came again', ...rejectedOutcomes.map((outcome) => outcomeNames[outcome])];
  const counts = [arrivals, returns, ...rejectedOutcomes.map((outcome) => rejected[outcome])];
  const rows = series.queue.map((queue, step) => [
    `${seconds(fromMs + step * stepMs)} s`,
    ...counts.map((values) => count(values[step] ?? 0)),
    queue === undefined ? '' : count(queue),
    count(orders[step] ?? 0),
  ]);
  const caption = `In steps of ${seconds(stepMs)} s from the opening: requests, rejections by reason, the queue's length in the last sample, orders.`;
  return html`<details><summary>The charts as a table</summary>\n${table(caption, [...head, 'Queue', 'Orders'], rows)}\n</details>`;
}

function table(caption: string, head: readonly string[], rows: readonly (readonly string[])[]): Markup {
  const cells = (row: readonly string[]) =>
    row.map((cell, index) => (index === 0 ? html`<th scope="row">${cell}</th>` : html`<td>${cell}</td>`));
  return html`<div class="wide"><table><caption>${caption}</caption>
<thead><tr>${head.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>
${rows.map((row) => html`<tr>${cells(row)}</tr>\n`)}</tbody></table></div>`;
}
