import { expect, test } from 'vitest';
import type { CheckedTicket } from '../../demos/flash-sale/check-tickets.ts';
import { Counters } from '../../demos/flash-sale/counters.ts';
import { fairnessOf } from '../../demos/flash-sale/fairness.ts';
import { busySeconds, paceOf, paceSentence } from '../../demos/flash-sale/pace.ts';
import { seriesOf, svgOf } from '../../demos/flash-sale/report/charts.ts';
import { reportPage } from '../../demos/flash-sale/report/page.ts';
import { renderSummary } from '../../demos/flash-sale/report/terminal.ts';
import type { Run } from '../../demos/flash-sale/run.ts';
import {
  equationsOf,
  failures,
  paceSentences,
  type Summary,
  summarize,
  type Totals,
} from '../../demos/flash-sale/summary.ts';

const totals: Totals = {
  settings: { stock: 11, queue: 5 },
  buyers: {
    total: 100,
    admitted: 12,
    rejected: { 'queue-full': 50, 'sold-out': 38, 'not-open': 0, overloaded: 0 },
    withErrors: 0,
  },
  requests: {
    sent: 160,
    again: 60,
    responses: {
      admitted: 12,
      'already-admitted': 3,
      'queue-full': 100,
      'sold-out': 40,
      'not-open': 2,
      overloaded: 2,
      error: 1,
    },
  },
  longestQueue: 5,
  sale: {
    stock: { initial: 11, remaining: 0, held: 0, sold: 11 },
    counts: { admitted: 12, ordered: 11, released: 1, rejected: { queueFull: 100, soldOut: 40, notOpen: 2 } },
  },
  tickets: { distinct: 12, shared: 0, buyersWithTwo: 0, ordered: 11, released: 1, unfinished: 0, orders: 11 },
};
const failed = (changed: Partial<Totals>) =>
  equationsOf({ ...totals, ...changed })
    .filter(({ holds }) => !holds)
    .map(({ name }) => name);

test('every equation of consistent totals holds', () => {
  expect(failed({})).toEqual([]);
  expect(equationsOf(totals)).toHaveLength(9);
});

const { settings, sale, tickets, buyers, requests } = totals;
test.each<[string, Partial<Totals>, string[]]>([
  ['a lost unit', { sale: { ...sale, stock: { ...sale.stock, sold: 10 } } }, ['stock', 'orders']],
  ['a unit sold twice', { sale: { ...sale, stock: { ...sale.stock, remaining: -1, sold: 12 } } }, ['stock', 'orders']],
  ['another stock than was requested', { settings: { ...settings, stock: 10 } }, ['stock']],
  ['an admission without an outcome', { sale: { ...sale, counts: { ...sale.counts, released: 0 } } }, ['admitted']],
  ['a ticket that no buyer was told of', { tickets: { ...tickets, distinct: 11, released: 0 } }, ['tickets']],
  ['a ticket for two', { tickets: { ...tickets, shared: 1 } }, ['one each']],
  ['two tickets for one', { tickets: { ...tickets, buyersWithTwo: 1 } }, ['one each']],
  ['a ticket that never ends', { tickets: { ...tickets, released: 0, unfinished: 1 } }, ['final']],
  ['a missing order, or one of another buyer', { tickets: { ...tickets, orders: 10 } }, ['orders']],
  ['a queue too long by one', { longestQueue: 6 }, ['queue']],
  ['a missing response', { requests: { ...requests, sent: 161 } }, ['requests']],
  [
    'a response too many',
    { requests: { ...requests, responses: { ...requests.responses, 'sold-out': 41 } } },
    ['requests'],
  ],
  [
    'a buyer with an error',
    { buyers: { ...buyers, rejected: { ...buyers.rejected, 'sold-out': 37 }, withErrors: 1 } },
    ['buyers'],
  ],
  ['a missing buyer', { buyers: { ...buyers, rejected: { ...buyers.rejected, 'sold-out': 37 } } }, ['buyers']],
])('finds %s', (_, changed, names) => {
  expect(failed(changed)).toEqual(names);
});

test('fairness distinguishes the same order, no order and the reverse order', () => {
  const served = (order: number[]) => fairnessOf(order.map((servedAt, arrivedAt) => ({ arrivedAt, servedAt })));
  expect(served([1, 2, 3, 4])).toEqual({ orders: 4, rankCorrelation: 1, meanShift: 0, maxShift: 0 });
  expect(served([4, 3, 2, 1])).toMatchObject({ rankCorrelation: -1, meanShift: 2, maxShift: 3 });
  expect(served([2, 1, 4, 3])?.rankCorrelation).toBeCloseTo(0.6);
  expect(served([7, 7, 7])?.rankCorrelation).toBe(1); // all at once: nobody was passed over
  expect(served([1, 1, 2, 2])?.rankCorrelation).toBeCloseTo(0.894, 3);
  expect(served([1])).toBeNull();
});

/** A buyer every 10 ms for a drain of 100/s, each served after `waitMs`. */
const waits = (count: number, waitMs: number) =>
  Array.from({ length: count }, (_, index) => ({ arrivedMs: index * 10, orderedMs: index * 10 + waitMs }));

test('a second counts for the pace if it is not the first one and a buyer waited at every moment of it', () => {
  expect(busySeconds(waits(450, 700))).toEqual([1, 2, 3, 4]); // until 5.19 s
  expect(busySeconds(waits(450, 5))).toEqual([]); // served at once: the drain had pauses
  const pause = [...waits(200, 20), { arrivedMs: 2_500, orderedMs: 4_100 }, { arrivedMs: 4_000, orderedMs: 6_000 }];
  expect(busySeconds(pause)).toEqual([1, 3, 4, 5]);
  expect(busySeconds([])).toEqual([]);
});

test('the pace counts the seconds within 10 % of the rate, or within one order', () => {
  const times = (...counts: number[]) =>
    counts.flatMap((count, second) => Array.from({ length: count }, (_, i) => (second + i / count) * 1_000));
  const pace = paceOf(times(500, 90, 110, 89, 111, 100, 7), [1, 2, 3, 4, 5], 100);
  expect(pace).toEqual({ perSecond: 100, seconds: 5, held: 3, min: 89, max: 111, mean: 100 });
  expect(paceOf(times(0, 3, 5, 2), [1, 2, 3], 4)).toMatchObject({ held: 2 });
  expect(paceOf(times(0, 0), [1], 100)).toMatchObject({ held: 0, min: 0, max: 0 });
  expect(paceOf(times(9), [], 4)).toBeNull();
});

test('the summary says whether the rate was held, and whether the load generator was the limit', () => {
  const pace = { perSecond: 100, seconds: 4, held: 4, min: 98, max: 101, mean: 99.8 };
  expect(paceSentence(pace)).toMatch(/^The rate was held: within 10 % of 100 orders in each of 4 seconds \(98 to 101 /);
  expect(paceSentence({ ...pace, held: 3, min: 80 })).toMatch(/^The rate was not held: .* in only 3 of 4 seconds/);
  const delays = (p99: number) => ({ count: 1_000, p50: 1, p95: 5, p99, max: 900 });
  expect(paceSentences({ pace, sendDelayMs: delays(12) })).toHaveLength(1);
  expect(paceSentences({ pace: null, sendDelayMs: delays(312) })).toEqual([
    expect.stringMatching(
      /^The load generator was the limit at times: 1 % of its requests left more than 312 ms after/,
    ),
  ]);
});

/** Three buyers for one unit: one is admitted, comes again and loses a response; one is rejected; one too early. */
function smallRun(change: Partial<CheckedTicket> = {}): Run {
  const counters = new Counters(3);
  const ask = (buyer: number, atMs: number, response: Parameters<Counters['add']>[1], again = false) => {
    counters.send(atMs, again, 3);
    counters.add(buyer, response, { arrivedMs: atMs, atMs: atMs + 8, waitedMs: 1 });
  };
  ask(2, -200, { outcome: 'not-open', retryAfterMs: undefined });
  ask(0, 10, { outcome: 'admitted', ticketId: 'ticket-1', position: 1 });
  ask(0, 20, { outcome: 'error', lost: true, message: 'socket <hang> up' });
  ask(0, 220, { outcome: 'already-admitted', ticketId: 'ticket-1', position: 0 }, true);
  ask(1, 300, { outcome: 'queue-full', retryAfterMs: 1_000 });
  ask(2, 400, { outcome: 'sold-out', retryAfterMs: undefined }, true);
  const stock = { initial: 1, remaining: 0, held: 0, sold: 1 };
  return {
    settings: {
      buyers: 3,
      stock: 1,
      queue: 1,
      drain: 4,
      seconds: 1,
      seed: 7,
      repeat: 0,
      patience: 0,
      timeoutSeconds: 1,
    },
    url: 'http://sluice.test',
    sale: {
      id: '0199c2b0-0000-7000-8000-000000000001',
      sku: 'FLASH',
      name: 'Flash sale',
      unitPrice: 1_999,
      currency: 'GBP',
      queueCap: 1,
      drainPerSecond: 4,
      opensAt: '2026-01-01T00:00:00.000Z',
      closesAt: null,
      holdSeconds: 0,
      status: 'sold-out',
      stock,
      queue: { length: 0, cap: 1 },
      counts: { admitted: 1, ordered: 1, released: 0, rejected: { queueFull: 1, soldOut: 1, notOpen: 1 } },
    },
    counters,
    tickets: [
      {
        ticketId: 'ticket-1',
        buyer: 0,
        arrivedMs: 10,
        userId: 'buyer-7-1',
        status: 'ordered',
        orderId: 'order-1',
        orderedBy: 'buyer-7-1',
        orderedMs: 260,
        ...change,
      },
    ],
    samples: [
      { atMs: 50, queue: 1 },
      { atMs: 300, queue: 0 },
    ],
  };
}

test('a summary counts buyers, requests and tickets separately', () => {
  const summary = summarize(smallRun());
  expect(failures(summary)).toEqual([]);
  expect(summary).toMatchObject({
    buyers: {
      total: 3,
      admitted: 1,
      rejected: { 'queue-full': 1, 'sold-out': 1, 'not-open': 0, overloaded: 0 },
      withErrors: 0,
    },
    requests: { sent: 6, again: 2, responses: { admitted: 1, 'already-admitted': 1, 'not-open': 1, error: 1 } },
    tickets: { distinct: 1, ordered: 1, orders: 1, unfinished: 0 },
    longestQueue: 1,
    latencyMs: { admitted: { count: 1, p50: 8, max: 8 } },
    sendDelayMs: { count: 6, p50: 3, max: 3 },
    pace: null, // the only order came in the first second
    errors: [{ message: 'socket <hang> up', count: 1 }],
  });
  expect(renderSummary(summary).join('\n')).toContain('1 × socket <hang> up');
});

test.each<[string, Partial<CheckedTicket>, string[]]>([
  ['an order of another buyer', { orderedBy: 'buyer-7-2' }, ['orders']],
  ['a ticket that is still queued', { status: 'queued', orderId: undefined }, ['final', 'orders']],
  ['a ticket that could not be read', { status: undefined, orderId: undefined }, ['final', 'orders']],
])('a run with %s fails, and the terminal says so', (_, change, names) => {
  const summary = summarize(smallRun(change));
  expect(failures(summary).map(({ name }) => name)).toEqual(names);
  expect(renderSummary(summary).filter((line) => line.includes('DOES NOT HOLD'))).toHaveLength(names.length);
});

test('a ticket given to two buyers is found', () => {
  const run = smallRun();
  run.counters.send(500, false, 0);
  const admitted = { outcome: 'admitted', ticketId: 'ticket-1', position: 1 } as const;
  run.counters.add(1, admitted, { arrivedMs: 500, atMs: 510, waitedMs: 0 });
  expect(failures(summarize(run)).map(({ name }) => name)).toContain('one each');
});

test('two live tickets of one buyer are found; one after a released one is fine', () => {
  const withTwo = (status: 'ordered' | 'released') => {
    const run = smallRun();
    const [ticket] = run.tickets;
    if (!ticket) throw new Error('there is one');
    return summarize({ ...run, tickets: [ticket, { ...ticket, ticketId: 'ticket-2', status }] }).tickets.buyersWithTwo;
  };
  expect(withTwo('ordered')).toBe(1);
  expect(withTwo('released')).toBe(0);
});

test('the series counts every request, rejection and order once', () => {
  const { counts, queue, stepMs, fromMs } = seriesOf(smallRun());
  const sum = (...lists: (readonly number[])[]) => lists.flat().reduce((all, value) => all + value, 0);
  expect([stepMs, fromMs]).toEqual([250, -250]);
  expect(sum(counts.first)).toBe(4);
  expect(sum(counts.again)).toBe(2);
  expect(sum(counts['queue-full'], counts['sold-out'], counts['not-open'])).toBe(3);
  expect(counts.orders.slice(0, 3)).toEqual([0, 0, 1]);
  expect(queue.slice(0, 3)).toEqual([undefined, 1, 0]);
});

const report = (change: Partial<Summary> = {}) => {
  const run = smallRun();
  return reportPage({ ...summarize(run), ...change }, seriesOf(run));
};

test('the report is one well-formed, self-contained page with the numbers', () => {
  const page = report();
  expect(page).toMatch(/^<!doctype html>\n<html lang="en">/);
  expect(openTags(page)).toEqual([]);
  expect(page).not.toMatch(/<(script|link|img|iframe|object)\b/);
  expect(page).not.toMatch(/\b(src|href|xlink:href)=|url\(|@import/);
  expect(page).toContain('prefers-color-scheme: dark');
  expect(page).toContain('@media print');
  expect(page.match(/<svg /g)).toHaveLength(4);
  for (const id of ['arrivals', 'rejections', 'queue', 'orders'])
    expect(page).toMatch(new RegExp(`aria-labelledby="${id}-title ${id}-desc">\n<title id="${id}-title">.+</title>`));
  expect(new Set(page.match(/ id="[^"]+"/g)).size).toBe(page.match(/ id="[^"]+"/g)?.length);
  expect(page).toContain('Every equation holds.');
  expect(page).toContain('<td class="text">1 = 0 remaining + 0 held + 1 sold</td><td class="holds">holds</td>');
  expect(page).toContain('<dd>1 of 1</dd>');
  expect(page).toContain('<th scope="row">queue full</th><td>1</td><td>1</td><td>8 ms</td>');
});

test('the report names equations that do not hold, and escapes foreign text', () => {
  const page = report({
    url: 'http://sluice.test/?a=<b>"',
    equations: [{ name: 'stock', text: '2 = 0 + 1', holds: false }],
  });
  expect(page).toContain('Does not hold: stock.');
  expect(page).toContain('<td class="fails">DOES NOT HOLD</td>');
  expect(page).toContain('http://sluice.test/?a=&lt;b&gt;&quot;');
  expect(openTags(page)).toEqual([]);
});

test('the charts are one self-contained SVG document for light and dark', () => {
  const run = smallRun();
  const svg = svgOf(summarize(run), seriesOf(run));
  expect(svg).toMatch(/^<svg [\s\S]*prefers-color-scheme: dark[\s\S]*<\/svg>\n$/);
  expect(openTags(svg)).toEqual([]);
  expect(svg).not.toMatch(/<(script|image|use)\b|href=|url\(|NaN|Infinity|undefined/);
  for (const text of ['Requests per second', 'cap 1', 'drain 4/s', 'queue full']) expect(svg).toContain(text);
  expect(svg).not.toContain('overloaded</text>'); // a legend names what is there
});

/** Tags that are not closed, or are closed in the wrong order. */
function openTags(markup: string): string[] {
  const open: string[] = [];
  for (const [tag, end, name = ''] of markup
    .replace(/<style>[\s\S]*?<\/style>/g, '')
    .matchAll(/<(\/?)([a-z0-9]+)[^>]*>/g)) {
    if (tag.endsWith('/>') || name === 'meta') continue;
    if (end === '') open.push(name);
    else if (open.pop() !== name) return [...open, `unexpected ${tag}`];
  }
  return open;
}
