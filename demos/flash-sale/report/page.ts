// The report as one self-contained HTML page: no scripts, no fonts, no pictures from elsewhere.
import { html, Markup } from '../../../infra/http/html.ts';
import { chartStyle } from '../../shared/svg.ts';
import { count, text } from '../../shared/terminal.ts';
import { panelElement } from '../../shared/time-chart.ts';
import { fairnessSentence } from '../fairness.ts';
import { failures, headlines, paceSentences, responseTable, type Summary } from '../summary.ts';
import { counted, panelsOf, type Series, seconds } from './charts.ts';

const pageStyle = `
  :root { color-scheme: light dark; --dim: light-dark(#59636e, #9198a1); --line: light-dark(#d1d9e0, #3d444d); }
  body { margin: 0 auto; padding: 1.5rem; max-width: 60rem; font: 16px/1.5 system-ui, sans-serif;
    background: light-dark(#ffffff, #0d1117); color: light-dark(#1f2328, #f0f6fc); }
  h1 { font-size: 1.6rem; margin: 0 0 0.25rem; }
  h2 { font-size: 1.2rem; margin: 2rem 0 0.5rem; }
  .dim, caption, dt, figcaption, thead th { color: var(--dim); }
  .verdict { font-weight: 600; }
  .holds { color: light-dark(#1a7f37, #3fb950); }
  .fails { color: light-dark(#cf222e, #f85149); }
  dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 0.75rem; margin: 1rem 0; }
  dl > div { border: 1px solid var(--line); border-radius: 6px; padding: 0.5rem 0.75rem; }
  dt, figcaption, caption { font-size: 0.85rem; }
  dd { margin: 0; font-size: 1.15rem; font-weight: 600; white-space: nowrap; }
  dd, table { font-variant-numeric: tabular-nums; }
  figure { margin: 0 0 0.75rem; break-inside: avoid; }
  figure svg { display: block; width: 100%; height: auto; }
  figcaption { padding-left: 0.75rem; }
  .wide { overflow-x: auto; }
  table { border-collapse: collapse; width: 100%; }
  caption { text-align: left; padding-bottom: 0.25rem; }
  th, td { padding: 0.2rem 0.6rem; border-bottom: 1px solid var(--line); text-align: right; font-weight: normal; }
  th:first-child, td.text { text-align: left; }
  th:first-child { white-space: nowrap; }
  @media print {
    :root { color-scheme: light; }
    body { padding: 0; max-width: none; font-size: 11pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
    details { display: none; }
    table, dl { break-inside: avoid; }
  }`;

export function reportPage(summary: Summary, series: Series): string {
  const { settings, fairness, saleId, url, equations } = summary;
  const title = text`Flash sale: ${settings.buyers} buyers for ${settings.stock} units`;
  const failed = failures(summary).map(({ name }) => name);
  const verdict = failed.length === 0 ? 'Every equation holds.' : `Does not hold: ${failed.join(', ')}.`;
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
<p>${text`A queue of ${settings.queue} that drains at ${settings.drain} per second`}; the buyers came within ${settings.seconds} s of the opening. <span class="dim">Seed ${settings.seed}; sale ${saleId} at ${url}.</span></p>
<p class="verdict ${failed.length === 0 ? 'holds' : 'fails'}">${verdict}</p>
<dl>
${headlines(summary).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>\n`)}</dl>
${paceSentences(summary).map((sentence) => html`<p>${sentence}</p>\n`)}<h2>The sale over time</h2>
${panelsOf(summary, series).map(
  (panel) =>
    html`<figure>\n${new Markup(panelElement(panel, series))}\n<figcaption>${panel.description}</figcaption>\n</figure>\n`,
)}
<h2>Buyers and requests</h2>
${table(responseTable(summary))}
${fairness !== null && html`<h2>Fairness</h2>\n<p>${fairnessSentence(fairness)} <span class="dim">Rank correlation of arrival and order: ${fairness.rankCorrelation.toFixed(4)}, over ${count(fairness.orders)} orders.</span></p>`}
<h2>Totals</h2>
<div class="wide"><table><tbody>
${equations.map(
  ({ name, text, holds }) =>
    html`<tr><th scope="row">${name}</th><td class="text">${text}</td><td class="${holds ? 'holds' : 'fails'}">${holds ? 'holds' : 'DOES NOT HOLD'}</td></tr>\n`,
)}</tbody></table></div>
<h2>Figures</h2>
<details><summary>The charts as a table</summary>
${table(figures(series))}
</details>
</main>
</body>
</html>
`;
  return page.text;
}

/** The charts in numbers. */
function figures({ fromMs, stepMs, counts, queue }: Series) {
  return {
    caption: `In steps of ${seconds(stepMs)} s from the opening: requests, rejections by reason, orders, the queue's length in the last sample.`,
    head: ['from', ...Object.values(counted).map(({ name }) => name), 'queue'],
    rows: queue.map((length, step) => [
      `${seconds(fromMs + step * stepMs)} s`,
      ...Object.values(counts).map((values) => count(values[step] ?? 0)),
      length === undefined ? '' : count(length),
    ]),
  };
}

function table({ caption, head, rows }: ReturnType<typeof responseTable>): Markup {
  const cells = (row: readonly string[]) =>
    row.map((cell, index) => (index === 0 ? html`<th scope="row">${cell}</th>` : html`<td>${cell}</td>`));
  return html`<div class="wide"><table><caption>${caption}</caption>
<thead><tr>${head.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>
${rows.map((row) => html`<tr>${cells(row)}</tr>\n`)}</tbody></table></div>`;
}
