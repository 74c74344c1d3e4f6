// The pages of a flash sale as a browser gets them. Their scripts run against a document with only the elements that
// have an id, and with a clock that the test moves.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  type FlashSale,
  type FlashSaleStatus,
  purchaseRequest,
  rejections,
  type Ticket,
} from '../../contracts/flash-sales.ts';
import type { PaymentOutcome } from '../../contracts/orders.ts';
import { reply } from '../../infra/http/api.ts';
import { createApp } from '../../infra/http/app.ts';
import { html } from '../../infra/http/html.ts';
import { prefersHtml } from '../../infra/http/prefers-html.ts';
import { type HttpServer, listen } from '../../infra/http/server.ts';
import { about } from '../../services/flash-sale/pages/messages.ts';
import type { Page } from '../../services/flash-sale/pages/page.ts';
import { rejectedPage, salePage, ticketPage } from '../../services/flash-sale/pages/pages.ts';

const SALE_ID = '0197b2c4-0000-7000-8000-000000000001';
const TICKET_ID = '0197b2c4-0000-7000-8000-000000000002';
const ORDER_ID = '0197b2c4-0000-7000-8000-000000000003';

const link = (path: string) => path;

const sale = (changes: Partial<FlashSale> = {}): FlashSale => ({
  id: SALE_ID,
  sku: 'LAMP',
  name: 'A lamp',
  unitPrice: 1_999,
  currency: 'GBP',
  queueCap: 200,
  drainPerSecond: 100,
  opensAt: '2030-01-02T03:04:05.678Z',
  closesAt: null,
  holdSeconds: 0,
  status: 'open',
  stock: { initial: 5_000, remaining: 1_234, held: 12, sold: 3_754 },
  queue: { length: 12, cap: 200 },
  counts: { admitted: 3_766, ordered: 3_754, released: 0, rejected: { queueFull: 0, soldOut: 0, notOpen: 0 } },
  ...changes,
});

const saleStatuses: FlashSaleStatus[] = ['scheduled', 'open', 'sold-out', 'closed'];
const tickets: Ticket[] = [
  { status: 'queued', position: 12 },
  { status: 'accepted' },
  { status: 'awaiting-payment', orderId: ORDER_ID },
  { status: 'ordered', orderId: ORDER_ID },
  { status: 'released', orderId: ORDER_ID },
  { status: 'failed' },
];

function allPages(changes: Partial<FlashSale> = {}, userId = 'ada'): [string, Page][] {
  const pages: [string, Page][] = [];
  for (const status of saleStatuses) {
    const of = sale({ status, closesAt: '2030-02-02T00:00:00Z', ...changes });
    pages.push([`sale, ${status}`, salePage(of, link)]);
    for (const reason of rejections)
      pages.push([
        `rejected, ${status}, ${reason}`,
        rejectedPage(of, { reason, userId, retryAfter: reason === 'sold-out' ? undefined : 7 }, link),
      ]);
  }
  for (const ticket of tickets)
    pages.push([`ticket, ${ticket.status}`, ticketPage(sale(changes), { id: TICKET_ID, ...ticket }, link)]);
  return pages;
}

const only = (page: Page, pattern: RegExp): string => {
  const found = [...page.html.matchAll(pattern)];
  expect(found).toHaveLength(1);
  return found[0]?.[1] ?? '';
};
const scriptOf = (page: Page) => only(page, /<script type="module">(.*?)<\/script>/gs);
const sourceOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
const withoutInlines = (page: Page) => page.html.replace(/<(script|style)[^>]*>.*?<\/\1>/gs, '');

describe('every page', () => {
  test.each(allPages())('%s: the policy allows its own style and script, and nothing else', (_name, page) => {
    const { 'Content-Security-Policy': policy, ...headers } = page.headers;
    const directives = new Map(policy?.split(';').map((part) => part.split(/ (.*)/) as [string, string]));
    expect(directives.get('default-src')).toBe("'none'");
    expect(directives.get('style-src')).toBe(sourceOf(only(page, /<style>(.*?)<\/style>/gs)));
    expect(directives.get('form-action')).toBe("'self'");
    expect(directives.get('frame-ancestors')).toBe("'none'");
    expect(directives.get('base-uri')).toBe("'none'");
    expect(directives.get('object-src')).toBe("'none'");
    const scripts = page.html.match(/<script/g)?.length ?? 0;
    expect(directives.get('script-src')).toBe(scripts === 0 ? undefined : sourceOf(scriptOf(page)));
    expect(directives.get('connect-src')).toBe(scripts === 0 ? undefined : "'self'");
    expect(headers).toMatchObject({
      'Content-Type': 'text/html; charset=utf-8',
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      'Referrer-Policy': 'same-origin',
      Vary: 'Accept',
    });
    // The policy would block both.
    expect(withoutInlines(page)).not.toMatch(/\sstyle=|\son[a-z]+=/);
  });

  test.each(allPages())('%s: loads and links nothing from other sites', (_name, page) => {
    expect(page.html).not.toMatch(/https?:|\/\/[a-z0-9]|@import|url\(/);
    for (const [, target] of page.html.matchAll(/\s(?:href|src|action)="([^"]*)"/g)) expect(target).toMatch(/^\/[a-z]/);
  });

  test.each(allPages())('%s: is accessible', (_name, page) => {
    expect(page.html).toMatch(/^<!doctype html>\n<html lang="en">/);
    expect(only(page, /<title>(.*?)<\/title>/g)).toMatch(/\S/);
    expect(only(page, /<h1[^>]*>(.*?)<\/h1>/g)).toMatch(/\S/);
    expect(page.html).toContain('name="viewport" content="width=device-width, initial-scale=1"');
    expect(page.html.match(/<main/g)).toHaveLength(1);
    const ids = [...page.html.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [tag] of page.html.matchAll(/<input[^>]*>/g)) {
      if (tag.includes('type="hidden"')) continue;
      expect(page.html).toContain(`<label for="${/\sid="([^"]*)"/.exec(tag)?.[1]}">`);
      const hint = /aria-describedby="([^"]*)"/.exec(tag)?.[1];
      if (hint) expect(ids).toContain(hint);
    }
    if (page.html.includes('<script')) expect(page.html).toMatch(/<p id="announcement"[^>]* role="status"><\/p>/);
  });

  const evil = `"><script>alert(1)</script>'</title></style><!--&amp;`;
  test.each(allPages({ name: evil }, evil))('%s: shows data as text only', (_name, page) => {
    const plain = allPages().find(([name]) => name === _name)?.[1] as Page;
    // Exactly the same elements as with a harmless name.
    const tags = (of: Page) => withoutInlines(of).match(/<[!/a-z][a-z0-9]*/g);
    expect(tags(page)).toEqual(tags(plain));
    expect(page.html).not.toContain('alert(1)</script>');
    expect(page.headers).toEqual(plain.headers);
  });

  test('the template escapes text and keeps markup', () => {
    expect(html`<a b="${`<>&"'`}">${[html`<i>${1}</i>`, html`<b>${'<'}</b>`]}${undefined}${false}</a>`.text).toBe(
      '<a b="&lt;&gt;&amp;&quot;&#39;"><i>1</i><b>&lt;</b></a>',
    );
  });

  test('has enough contrast in light and dark, by WCAG', () => {
    const style = only(salePage(sale(), link), /<style>(.*?)<\/style>/gs);
    const [light, dark] = [...style.matchAll(/:root \{(.*?)\}/gs)].map(
      ([, rules]) => new Map([...(rules ?? '').matchAll(/--([a-z-]+): #([0-9a-f]{6})/g)].map(([, k, v]) => [k, v])),
    );
    const luminance = (hex = '') => {
      const [r = 0, g = 0, b = 0] = [0, 2, 4].map((at) => {
        const c = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
        return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    for (const theme of [light, dark]) {
      const contrast = (a: string, b: string) => {
        const [low = 0, high = 0] = [luminance(theme?.get(a)), luminance(theme?.get(b))].sort((x, y) => x - y);
        return (high + 0.05) / (low + 0.05);
      };
      for (const ink of ['ink', 'quiet', 'accent']) expect(contrast(ink, 'paper')).toBeGreaterThanOrEqual(4.5);
      expect(contrast('on-accent', 'accent')).toBeGreaterThanOrEqual(4.5);
      expect(contrast('line', 'paper')).toBeGreaterThanOrEqual(3);
    }
    expect(style).toContain(':focus-visible');
    expect(style.indexOf('animation:')).toBeGreaterThan(style.indexOf('prefers-reduced-motion: no-preference'));
  });
});

describe('the page of a sale', () => {
  test('says what is sold and what is left, and takes what the contract takes', () => {
    const page = salePage(sale(), link);
    expect(page.html).toContain('19.99 GBP');
    expect(page.html).toContain('1,234 of 5,000');
    expect(page.html).toContain('12 of 200 places');
    expect(page.html).toContain(`method="post" action="/flash-sales/${SALE_ID}/purchases"`);
    expect(page.html).toContain('maxlength="64"');
    // As browsers compile it: the whole value, with the v flag.
    const pattern = new RegExp(`^(?:${only(page, / pattern="([^"]*)"/g)})$`, 'v');
    for (let code = 0; code < 0x250; code++) {
      const userId = String.fromCharCode(code);
      expect([userId, pattern.test(userId)]).toEqual([userId, purchaseRequest.safeParse({ userId }).success]);
    }
  });

  test('has no form after closing, and shows the opening time before', () => {
    expect(salePage(sale({ status: 'closed' }), link).html).not.toContain('<form');
    expect(salePage(sale({ status: 'scheduled' }), link).html).toContain(
      '<time datetime="2030-01-02T03:04:05.678Z">2030-01-02 03:04:05 UTC</time>',
    );
  });
});

// ---- The scripts ----

const unescapeText = (text: string) =>
  text.replace(
    /&(amp|lt|gt|quot|#39);/g,
    (_all, name: string) => ({ amp: '&', lt: '<', gt: '>', quot: '"' })[name] ?? "'",
  );

class FakeElement {
  readonly dataset: Record<string, string> = {};
  readonly classList = { remove: () => {} };
  readonly #attributes = new Map<string, string>();
  readonly #listeners = new Map<string, (event: { preventDefault(): void }) => void>();
  hidden = false;
  textContent: string;

  constructor(attributes: string, text: string) {
    this.textContent = unescapeText(text);
    for (const [, name = '', value = ''] of attributes.matchAll(/\s([a-z-]+)(?:="([^"]*)")?/g)) {
      this.#attributes.set(name, unescapeText(value));
      if (name === 'hidden') this.hidden = true;
      const camel = name.slice(5).replace(/-(.)/g, (_all, letter: string) => letter.toUpperCase());
      if (name.startsWith('data-')) this.dataset[camel] = unescapeText(value);
    }
  }
  getAttribute = (name: string) => this.#attributes.get(name) ?? null;
  setAttribute = (name: string, value: string) => void this.#attributes.set(name, value);
  focus = () => {};
  addEventListener = (type: string, listener: (event: { preventDefault(): void }) => void) =>
    void this.#listeners.set(type, listener);
  dispatch = (type: string) => this.#listeners.get(type)?.({ preventDefault: () => {} });
}

type Answer = { status: number; body?: unknown; retryAfter?: string } | 'no network';
interface SentRequest {
  readonly at: number;
  readonly url: string;
  readonly init: { method?: string; body?: string; headers: Record<string, string> };
}

/** Runs the page's script in a fake browser; Math.random returns `random`. */
function browse(page: Page, path: string, random = 0.5) {
  let now = 1_000_000;
  let timers: { id: number; at: number; run: () => void }[] = [];
  let lastId = 0;
  let wentTo: string | undefined;
  const replace = (url: string) => {
    wentTo = url;
  };
  const elements = new Map(
    [...withoutInlines(page).matchAll(/<[a-z0-9]+((?:\s[^>]*)?\sid="([^"]*)"[^>]*)>([^<]*)/g)].map(
      ([, attributes = '', id = '', text = '']) => [id, new FakeElement(attributes, text)],
    ),
  );
  const requests: SentRequest[] = [];
  const answers: Answer[] = [];
  const documentListeners = new Map<string, () => void>();
  const context = vm.createContext({
    document: {
      title: '',
      activeElement: null,
      getElementById: (id: string) => elements.get(id) ?? null,
      addEventListener: (type: string, listener: () => void) => documentListeners.set(type, listener),
    },
    location: { pathname: path, replace },
    setTimeout: (run: () => void, ms: number) => {
      timers.push({ id: ++lastId, at: now + ms, run });
      return lastId;
    },
    clearTimeout: (id: number) => {
      timers = timers.filter((timer) => timer.id !== id);
    },
    AbortSignal: { timeout: () => undefined },
    clock: () => now,
    random: () => random,
    fetch: async (url: string, init: SentRequest['init']) => {
      requests.push({ at: now, url, init });
      const answer = answers.shift();
      if (answer === undefined) throw new Error('more requests than the test has responses');
      if (answer === 'no network') throw new TypeError('Failed to fetch');
      return {
        status: answer.status,
        headers: new Headers(answer.retryAfter === undefined ? {} : { 'Retry-After': answer.retryAfter }),
        json: async () => answer.body,
      };
    },
  });
  vm.runInContext('Date.now = clock; Math.random = random;', context);
  vm.runInContext(`(() => {'use strict';${scriptOf(page)}})()`, context);
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return {
    requests,
    answers,
    el: (id: string) => elements.get(id) as FakeElement,
    wentTo: () => wentTo,
    isWaiting: () => timers.length > 0,
    settle,
    /** Moves the clock from timer to timer until all responses are used or no timer is left. */
    async run() {
      await settle();
      while (answers.length > 0 && timers.length > 0) {
        timers.sort((a, b) => a.at - b.at);
        const next = timers.shift();
        now = Math.max(now, next?.at ?? now);
        next?.run();
        await settle();
      }
    },
    /** As a tab that was hidden for so long, with its timers stopped. */
    async wakeAfter(ms: number) {
      now += ms;
      documentListeners.get('visibilitychange')?.();
      await settle();
    },
    now: () => now,
  };
}

const rejected = (changes: Partial<FlashSale> = {}, wait: number | undefined = 7, random = 0.5) =>
  browse(
    rejectedPage(sale(changes), { reason: 'queue-full', userId: 'ada', retryAfter: wait }, link),
    '/anywhere',
    random,
  );
const full = (retryAfter: string): Answer => ({ status: 429, retryAfter, body: { title: 'The queue is full' } });
const STATUS_URL = `/flash-sales/${SALE_ID}/purchases/${TICKET_ID}`;
const admitted: Answer = { status: 202, body: { ticketId: TICKET_ID, position: 3, statusUrl: STATUS_URL } };
const gaps = (times: readonly number[]) => times.slice(1).map((at, i) => (at - (times[i] ?? 0)) / 1_000);

describe('the page of a rejection', () => {
  test('tries again after the time that each response names, and opens the ticket', async () => {
    const page = rejected();
    const start = page.now();
    page.answers.push(full('3'), full('20'), admitted);
    await page.run();
    expect(gaps([start, ...page.requests.map(({ at }) => at)])).toEqual([7.875, 3.5, 22.5]);
    expect(page.requests[0]).toMatchObject({
      url: `/flash-sales/${SALE_ID}/purchases`,
      init: {
        method: 'POST',
        body: '{"userId":"ada"}',
        headers: { Accept: 'application/json', 'Content-Type': 'application/json' },
      },
    });
    expect(page.wentTo()).toBe(STATUS_URL);
    expect(page.isWaiting()).toBe(false);
  });

  test.each([0, 0.999])('spreads its tries, never before their time (%d)', async (random) => {
    const page = rejected({}, 100, random);
    const start = page.now();
    page.answers.push(full('1'), admitted);
    await page.run();
    const [first = 0, second = 0] = gaps([start, ...page.requests.map(({ at }) => at)]);
    expect(first).toBeCloseTo(random === 0 ? 100 : 105, 1);
    expect(second).toBeCloseTo(random === 0 ? 1 : 2, 1);
  });

  test('shows a countdown, and announces the rejection to a screen reader once', async () => {
    const page = rejected();
    expect(page.el('state').textContent).toMatch(/^Trying again in 8 seconds/);
    page.answers.push(full('3'), full('3'), full('3'));
    await page.run();
    expect(page.el('state').textContent).toMatch(/in 4 seconds\. Tried 3 times\./);
    expect(page.el('announcement').textContent).toBe('The queue is full. ');
  });

  test('stops with the reason when the sale is sold out, and then tries only on request', async () => {
    const page = rejected();
    page.answers.push({ status: 409, body: { title: 'Sold out', detail: 'All gone.' } });
    await page.run();
    expect(page.el('title').textContent).toBe('Sold out');
    expect(page.el('announcement').textContent).toBe('Sold out. All gone.');
    expect(page.isWaiting()).toBe(false);
    expect(page.el('stop').hidden).toBe(true);
    page.answers.push(full('3'), admitted);
    page.el('retry').dispatch('submit');
    await page.run();
    expect(page.wentTo()).toBe(STATUS_URL);
  });

  test('tries again after any rejection that names a time', async () => {
    const page = rejected();
    page.answers.push({ status: 409, retryAfter: '30', body: { title: 'The sale is not open yet' } }, admitted);
    await page.run();
    expect(gaps(page.requests.map(({ at }) => at))).toEqual([32.5]);
    expect(page.wentTo()).toBe(STATUS_URL);
  });

  test('backs off without a response, and respects Retry-After of an overloaded shop', async () => {
    const page = rejected({}, 1, 0);
    page.answers.push('no network', { status: 503 }, 'no network', { status: 503, retryAfter: '60' }, 'no network');
    page.answers.push(full('2'), 'no network', admitted);
    await page.run();
    expect(gaps(page.requests.map(({ at }) => at))).toEqual([2, 4, 8, 60, 30, 2, 2]);
    expect(page.wentTo()).toBe(STATUS_URL);
  });

  test('stops on request, even during an attempt', async () => {
    const page = rejected();
    expect(page.el('stop').hidden).toBe(false);
    page.el('stop').dispatch('click');
    expect(page.isWaiting()).toBe(false);
    expect(page.el('state').textContent).toMatch(/^No longer trying/);

    page.answers.push(full('3'));
    page.el('retry').dispatch('submit');
    page.el('retry').dispatch('submit');
    page.el('stop').dispatch('click');
    await page.settle();
    expect(page.requests).toHaveLength(1);
    expect(page.isWaiting()).toBe(false);
    expect(page.el('state').textContent).toMatch(/^No longer trying.* once/);
    expect(page.el('stop').hidden).toBe(true);
  });

  test('catches up when a tab that slept becomes visible', async () => {
    const page = rejected();
    page.answers.push(admitted);
    await page.wakeAfter(3_000);
    expect(page.requests).toHaveLength(0);
    await page.wakeAfter(60_000);
    expect(page.requests).toHaveLength(1);
  });

  test('waits for a sale that opens later, and not for one that is sold out or closed', () => {
    const waits = (changes: Partial<FlashSale>, reason: (typeof rejections)[number], seconds?: number) => {
      const page = rejectedPage(sale(changes), { reason, userId: 'ada', retryAfter: seconds }, link);
      return [browse(page, '/').isWaiting(), /<form[^>]* hidden>/.test(page.html)];
    };
    expect(waits({ status: 'scheduled' }, 'not-open', 3_600)).toEqual([true, false]);
    expect(waits({ status: 'scheduled' }, 'not-open')).toEqual([false, false]);
    expect(waits({ status: 'sold-out' }, 'sold-out', 5)).toEqual([false, false]);
    expect(waits({ status: 'closed' }, 'queue-full', 5)).toEqual([false, true]);
    expect(waits({ status: 'closed' }, 'not-open')).toEqual([false, true]);
  });

  test('works without scripts: a form, and no button without a function', () => {
    const { html: text } = rejectedPage(sale(), { reason: 'queue-full', userId: 'ada', retryAfter: 7 }, link);
    expect(text).toContain(`<form id="retry" method="post" action="/flash-sales/${SALE_ID}/purchases" >`);
    expect(text).toContain('<input type="hidden" name="userId" value="ada">');
    expect(text).toContain('<button id="stop" type="button" hidden>');
  });
});

describe('the page of a ticket', () => {
  const follow = (ticket: Ticket, changes: Partial<FlashSale> = {}, random = 0.5) =>
    browse(ticketPage(sale(changes), { id: TICKET_ID, ...ticket }, link), STATUS_URL, random);

  test('follows the ticket until it is an order', async () => {
    const page = follow({ status: 'queued', position: 12 });
    page.answers.push({ status: 200, body: { status: 'queued', position: 4 } });
    await page.run();
    expect(page.el('title').textContent).toBe('Number 4 in the queue');
    expect(page.el('announcement').textContent).toBe('');
    page.answers.push({ status: 200, body: { status: 'accepted' } });
    await page.run();
    expect(page.el('announcement').textContent).toBe('It is your turn. Your order is being placed.');
    page.answers.push({ status: 200, body: { status: 'ordered', orderId: ORDER_ID } });
    await page.run();
    expect(page.el('title').textContent).toBe('Ordered');
    expect(page.el('order').hidden).toBe(false);
    expect(page.el('order-link').getAttribute('href')).toBe(`/orders/${ORDER_ID}`);
    expect(page.el('again').hidden).toBe(true);
    expect(page.isWaiting()).toBe(false);
    expect(page.requests[0]).toMatchObject({ url: STATUS_URL, init: { headers: { Accept: 'application/json' } } });
    expect(page.requests[0]?.init.method).toBeUndefined();
  });

  test.each(['released', 'failed'] as const)('ends when the ticket is %s, and offers another try', async (status) => {
    const page = follow({ status: 'accepted' });
    page.answers.push({ status: 200, body: { status } });
    await page.run();
    expect(page.isWaiting()).toBe(false);
    expect(page.el('again').hidden).toBe(false);
    expect(page.el('announcement').textContent).toMatch(/went back to the sale/);
  });

  test.each([0, 0.999])('polls every 1 to 10 seconds, the less often the longer the wait (%d)', async (random) => {
    const pause = async (ticket: Ticket) => {
      const page = follow(ticket, { drainPerSecond: 10 }, random);
      const start = page.now();
      page.answers.push({ status: 200, body: { status: 'ordered', orderId: ORDER_ID } });
      await page.run();
      return ((page.requests[0]?.at ?? 0) - start) / 1_000;
    };
    const pauses = [];
    for (const position of [1, 100, 200, 1_000_000]) pauses.push(await pause({ status: 'queued', position }));
    expect(pauses).toEqual([...pauses].sort((a, b) => a - b));
    expect(pauses.map(Math.round)).toEqual(random === 0 ? [1, 3, 5, 8] : [1, 3, 6, 10]);
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(1);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(10);
  });

  test('polls less and less often while nothing changes', async () => {
    const page = follow({ status: 'accepted' }, {}, 0);
    page.answers.push(...Array.from({ length: 9 }, (): Answer => ({ status: 200, body: { status: 'accepted' } })));
    await page.run();
    const pauses = gaps(page.requests.map(({ at }) => at));
    expect(pauses).toEqual([...pauses].sort((a, b) => a - b));
    expect(pauses.at(-1)).toBe(8);
  });

  test('backs off without a response, says so, and stops if there is no such ticket', async () => {
    const page = follow({ status: 'queued', position: 1 }, {}, 0);
    page.answers.push(
      'no network',
      { status: 503, retryAfter: '9' },
      { status: 200 },
      { status: 200, body: 'a proxy' },
    );
    await page.run();
    expect(page.el('state').textContent).toBe(
      'The shop is not responding. Your ticket is safe. Checking again in about 16 seconds.',
    );
    page.answers.push({ status: 404 });
    await page.run();
    expect(gaps(page.requests.map(({ at }) => at))).toEqual([2, 9, 8, 16]);
    expect(page.el('title').textContent).toBe('This ticket does not exist');
    expect(page.isWaiting()).toBe(false);
  });

  test.each(tickets)(
    'without scripts: reloads the page of a ticket that is $status, unless that is final',
    (ticket) => {
      const isFinal = ['ordered', 'released', 'failed'].includes(ticket.status);
      expect(
        /<noscript><meta http-equiv="refresh" content="\d+"><\/noscript>/.test(
          ticketPage(sale(), { id: TICKET_ID, ...ticket }, link).html,
        ),
      ).toBe(!isFinal);
      expect(follow(ticket).isWaiting()).toBe(!isFinal);
    },
  );

  describe('that awaits payment', () => {
    const due: Ticket = { status: 'awaiting-payment', orderId: ORDER_ID };
    const ticketIs = (ticket: Ticket): Answer => ({ status: 200, body: ticket });
    const orderIs = (changes: object): Answer => ({ status: 200, body: { status: 'awaiting-payment', ...changes } });
    const payment = (page: ReturnType<typeof follow>) => [page.el('pay').hidden, page.el('payment').textContent];

    test('has a button to pay, and says until when', async () => {
      const page = follow({ status: 'accepted' }, { holdSeconds: 60 });
      expect(page.el('pay').hidden).toBe(true);
      page.answers.push(ticketIs(due), orderIs({ expiresAt: '2030-01-02T03:04:05.000Z' }));
      await page.run();
      expect(payment(page)).toEqual([false, expect.stringMatching(/^Please pay by .*\d:04:05/)]);
      expect(page.el('pay').getAttribute('action')).toBe(`/orders/${ORDER_ID}/pay`);
      expect(page.requests[1]?.url).toBe(`/orders/${ORDER_ID}`);
    });

    test('pays once, and follows the ticket until it is an order', async () => {
      const page = follow(due);
      page.answers.push({ status: 200, body: { status: 'placed' } });
      page.el('pay').dispatch('submit');
      page.el('pay').dispatch('submit');
      await page.settle();
      expect(page.requests).toMatchObject([{ url: `/orders/${ORDER_ID}/pay`, init: { method: 'POST', body: '{}' } }]);
      expect(payment(page)).toEqual([true, 'You have paid. Your order is being confirmed.']);
      page.answers.push(
        ticketIs(due),
        orderIs({ status: 'placed' }),
        ticketIs({ status: 'ordered', orderId: ORDER_ID }),
      );
      await page.run();
      expect([page.el('title').textContent, page.el('payment').hidden]).toEqual(['Ordered', true]);
    });

    test('says that a payment was declined, and offers another one', async () => {
      const page = follow(due);
      page.answers.push({ status: 402 }, ticketIs(due), orderIs({}));
      page.el('pay').dispatch('submit');
      await page.run();
      expect(payment(page)).toEqual([false, 'The payment was declined, and nothing was charged. You can try again.']);
    });

    test.each([404, 415, 422, 429])(
      'says that a request to pay was not accepted (%s), and offers another one',
      async (status) => {
        const page = follow(due);
        page.answers.push({ status }, ticketIs(due), orderIs({}));
        page.el('pay').dispatch('submit');
        await page.run();
        expect(payment(page)).toEqual([false, expect.stringMatching(/not accepted, and nothing was charged/)]);
      },
    );

    test.each(['no network', { status: 500 }, { status: 503, retryAfter: '2' }] as const)(
      'says that a payment is in progress, and then what became of it (%j)',
      async (answer) => {
        const page = follow(due);
        page.answers.push(answer, ticketIs(due), orderIs({ payment: 'in-progress' }));
        page.el('pay').dispatch('submit');
        await page.run();
        expect(payment(page)).toEqual([true, expect.stringMatching(/in progress.*charged only once/)]);
        page.answers.push(ticketIs(due), orderIs({}));
        await page.run();
        expect(payment(page)).toEqual([false, expect.stringMatching(/did not go through, and nothing was charged/)]);
      },
    );

    test('notices that another page pays', async () => {
      const page = follow(due);
      page.answers.push(ticketIs(due), orderIs({ payment: 'in-progress' }));
      await page.run();
      expect(payment(page)).toEqual([true, expect.stringMatching(/in progress/)]);
    });

    test('without scripts: a form, and the outcome of the payment that it sent', () => {
      const shown = (outcome?: PaymentOutcome) => {
        const { html: text } = ticketPage(sale({ holdSeconds: 90 }), { id: TICKET_ID, ...due, payment: outcome }, link);
        return [/<form id="pay"[^>]* hidden>/.test(text), /<p id="payment"[^>]*>([^<]*)</.exec(text)?.[1]];
      };
      expect(shown()).toEqual([false, 'You have 2 minutes from your turn to pay.']);
      expect(shown('declined')).toEqual([false, expect.stringMatching(/declined/)]);
      expect(shown('in-progress')).toEqual([false, expect.stringMatching(/in progress/)]);
      expect(shown('paid')).toEqual([true, expect.stringMatching(/paid/)]);
    });

    test('links below the path of a reverse proxy', async () => {
      const below = ticketPage(sale(), { id: TICKET_ID, ...due }, (path) => `/shop${path}`);
      for (const [, target] of below.html.matchAll(/\s(?:href|action)="([^"]*)"/g)) expect(target).toMatch(/^\/shop\//);
      const page = browse(below, `/shop${STATUS_URL}`);
      page.answers.push(ticketIs(due), orderIs({}));
      await page.run();
      expect(page.requests.map(({ url }) => url)).toEqual([`/shop${STATUS_URL}`, `/shop/orders/${ORDER_ID}`]);
      expect(page.el('order-link').getAttribute('href')).toBe(`/shop/orders/${ORDER_ID}`);
    });
  });

  test('shows position and waiting time without a script', () => {
    const { html: text } = ticketPage(
      sale({ drainPerSecond: 10 }),
      { id: TICKET_ID, status: 'queued', position: 1_234 },
      link,
    );
    expect(text).toContain('>Number 1,234 in the queue</h1>');
    expect(text).toContain('in about 3 minutes.');
  });
});

describe('the scripts', () => {
  const folder = fileURLToPath(new URL('../../services/flash-sale/pages/browser/', import.meta.url));

  test('pass the type checker as scripts of a browser', () => {
    const compiler = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url));
    const { status, stdout } = spawnSync(process.execPath, [compiler, '--project', folder], { encoding: 'utf8' });
    expect([status, stdout]).toEqual([0, '']);
  });

  test('write durations as the pages do', () => {
    const source = readFileSync(`${folder}waiting.js`, 'utf8');
    const inBrowser = vm.runInNewContext(`${source.replaceAll('export ', '')}; about`) as typeof about;
    for (let seconds = 0; seconds < 1_000_000; seconds += 0.25 + seconds / 50)
      expect(inBrowser(seconds)).toBe(about(seconds));
    expect([0, 1, 1.5, 89, 90, 5_400, 172_800].map(about)).toEqual([
      '1 second',
      '1 second',
      '2 seconds',
      '89 seconds',
      '2 minutes',
      '2 hours',
      '2 days',
    ]);
  });

  test('contain nothing that would end their element early', () => {
    for (const page of [
      rejectedPage(sale(), { reason: 'queue-full', userId: 'ada', retryAfter: 1 }, link),
      ticketPage(sale(), { id: TICKET_ID, status: 'queued' }, link),
    ])
      expect(scriptOf(page)).not.toMatch(/<!--|<script|^(?:import|export) /m);
  });
});

describe('the requests of browsers', () => {
  let server: HttpServer;
  beforeAll(async () => {
    const app = createApp(pino({ level: 'silent' }), (api) => {
      const responses = { 200: { json: z.unknown() } };
      const post = {
        method: 'post',
        path: '/',
        access: 'public',
        body: { schema: z.unknown(), form: true },
        responses,
      } as const;
      api.handle(post, async ({ body }) => reply(200, { body }));
      api.handle({ method: 'get', path: '/', access: 'public', responses }, async (_, request) =>
        reply(200, prefersHtml(request)),
      );
    });
    server = await listen(app, '127.0.0.1', 0);
  });
  afterAll(() => server.close());

  // Not the tests' client: these routes are the test's own, without a schema.
  const post = async (type: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) => {
    const response = await fetch(server.url, { method: 'POST', headers: { 'Content-Type': type, ...headers }, body });
    return [response.status, z.looseObject({}).parse(await response.json())] as const;
  };
  const FORM = 'application/x-www-form-urlencoded';

  test('a form is parsed like JSON', async () => {
    const expected = [200, { body: { userId: 'a@b' } }];
    expect(await post('application/json', '{"userId":"a@b"}')).toEqual(expected);
    expect(await post(FORM, 'userId=a%40b')).toEqual(expected);
    expect(await post(`${FORM}; charset=UTF-8`, 'userId=a%40b')).toEqual(expected);
    expect(await post(FORM, '')).toEqual([200, { body: {} }]);
  });

  test('values that are invalid in JSON are invalid in a form', async () => {
    for (const body of [
      'userId=',
      'userId=a&userId=b',
      'userId[x]=a',
      'userId=%00',
      'userId=%FF',
      'userId=%C3%A9',
      '__proto__[userId]=a',
    ]) {
      const [status, answer] = await post(FORM, body);
      expect([body, status, purchaseRequest.safeParse(answer.body).success]).toEqual([body, 200, false]);
    }
  });

  test('another media type, charset or encoding gets 415, with what was sent and what is allowed', async () => {
    for (const [type, headers, detail] of [
      ['text/plain', {}, `Content-Type is text/plain, not application/json or ${FORM}.`],
      ['multipart/form-data; boundary=x', {}, `Content-Type is multipart/form-data, not application/json or ${FORM}.`],
      ['application/json; charset=latin1', {}, /charset=latin1\. Send charset=utf-8 or none/],
      [`${FORM}; charset=utf-16`, {}, /charset=utf-16\. Send charset=utf-8 or none/],
      [FORM, { 'Content-Encoding': 'compress' }, /^Content-Encoding is compress\. Send gzip, deflate, br.* or none/],
    ] as const) {
      const [status, answer] = await post(type, 'userId=ada', headers);
      expect([type, status]).toEqual([type, 415]);
      expect(answer.detail).toEqual(typeof detail === 'string' ? detail : expect.stringMatching(detail));
    }
  });

  test('a form that is too large, has too many fields or is not UTF-8 is rejected with a message about forms', async () => {
    for (const body of [`userId=${'a'.repeat(5_000)}`, 'a=1&'.repeat(50)])
      expect(await post(FORM, body)).toMatchObject([413, { detail: expect.stringContaining('A form may have') }]);
    expect(await post(FORM, Uint8Array.from([0x75, 0x3d, 0xff]))).toMatchObject([
      400,
      { detail: expect.stringContaining('form') },
    ]);
    expect(await post('application/json', '{')).toMatchObject([400, { detail: expect.stringContaining('JSON') }]);
  });

  test.each([
    ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', true],
    ['text/html', true],
    ['text/html, application/json;q=0.9', true],
    ['application/json, text/html', false],
    ['text/html;q=0.5, application/json', false],
    ['text/html;q=0, application/json', false],
    ['text/html;q=0', false],
    ['*/*', false],
    ['application/json', false],
    ['', false],
  ])('Accept: %s prefers a page: %s', async (accept, expected) => {
    expect(await (await fetch(server.url, { headers: { Accept: accept } })).json()).toBe(expected);
  });
});
