// GET /docs: what the page shows of both documents, and its search, which runs against a document of fake elements.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';
import { describe, expect, test } from 'vitest';
import { asyncApiOf } from '../../app/documents/asyncapi.ts';
import { eventTypes } from '../../contracts/events.ts';
import { serviceNames } from '../../contracts/services.ts';
import { docsPage } from '../../infra/documents/page/page.ts';
import { openapiExample } from '../setup/openapi-example.ts';

const browser = (name: string) => new URL(`../../infra/documents/page/browser/${name}`, import.meta.url);
const links = {
  style: '/shop/docs/style.css',
  script: '/shop/docs/script.js',
  openapi: '/o.json',
  asyncapi: '/a.json',
};
const asyncapi = asyncApiOf({ services: serviceNames, buses: ['rabbitmq', 'mqtt', 'local'], prefix: 'sluice' });
const both = docsPage({ openapi: openapiExample, asyncapi })(links);
const text = (markup: string) => markup.replaceAll(/<[^>]*>/g, '').replaceAll(/\s+/g, ' ');

/** The article of an entry, as text. */
function entry(id: string, page = both): string {
  const [, found] = new RegExp(`<article class="entry" id="${id}">(.*?)</article>`, 's').exec(page.html) ?? [];
  expect(found, `the page has an entry ${id}`).toBeDefined();
  return text(String(found));
}

describe('the page', () => {
  test('loads its own style and script, and nothing else', () => {
    expect(both.headers['Content-Security-Policy']).toBe(
      "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none';object-src 'none';style-src 'self';script-src 'self'",
    );
    const loaded = [...both.html.matchAll(/<(?:link|script|img|iframe)[^>]*(?:href|src)="([^"]*)"/g)].map(
      ([, url]) => url,
    );
    expect(loaded).toEqual([links.style, links.script]);
    expect(both.html).not.toMatch(/\sstyle=|\son[a-z]+=|<style|<script[^>]*>[^<]/);
    const files = readFileSync(browser('docs.css'), 'utf8') + readFileSync(browser('docs.js'), 'utf8');
    expect(files).not.toMatch(/https?:|@import|url\(|innerHTML|import /);
  });

  test('every link leads to a part of the page, and no id occurs twice', () => {
    const ids = [...both.html.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => String(id));
    expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
    const targets = [...both.html.matchAll(/\shref="#([^"]*)"/g)].map(([, id]) => String(id));
    expect(targets.filter((target) => !ids.includes(target))).toEqual([]);
    expect(targets.length).toBeGreaterThan(100);
  });

  test('is accessible: one h1, headings without a gap, landmarks, a label, a live region', () => {
    const levels = [...both.html.matchAll(/<h([1-6])[ >]/g)].map(([, level]) => Number(level));
    expect(levels.filter((level) => level === 1)).toHaveLength(1);
    for (const [index, level] of levels.entries()) expect(level - (levels[index - 1] ?? 0)).toBeLessThanOrEqual(1);
    expect(both.html).toMatch(/^<!doctype html>\n<html lang="en">/);
    for (const tag of [
      '<main',
      '<nav aria-label=',
      '<header',
      '<label for="query"',
      '<p id="found" role="status">',
      '<title>',
    ])
      expect(both.html.split(tag)).toHaveLength(2);
    expect(both.html).toContain('<a class="skip" href="#main">');
  });

  test('has no search without a script', () => {
    expect(both.html).toContain('<search id="search" hidden>');
  });

  test('closes every element that it opens', () => {
    const open: string[] = [];
    for (const [, slash, name = ''] of both.html.matchAll(/<(\/?)([a-z][a-z0-9]*)[^>]*>/g)) {
      if (['meta', 'link', 'input'].includes(name)) continue;
      if (slash) expect(open.pop()).toBe(name);
      else open.push(name);
    }
    expect(open).toEqual([]);
  });

  test('shows what documents contain as text only', () => {
    const evil = `"><script>alert(1)</script>'<!--&amp;`;
    const spoilt = JSON.parse(
      JSON.stringify({ openapi: openapiExample, asyncapi }, (key, value: unknown) =>
        typeof value === 'string' && !['$ref', 'in', 'type', 'name', 'action', 'format'].includes(key)
          ? `${value}${evil}`
          : value,
      ),
    ) as { openapi: object; asyncapi: object };
    const tags = (html: string) => new Set(html.match(/<[!/a-z][a-z0-9]*/g));
    const { html } = docsPage(spoilt)(links);
    expect(html).not.toContain('<script>alert');
    expect(html).toContain('alert(1)');
    expect(tags(html)).toEqual(tags(both.html));
  });

  test('shows one document without the other', () => {
    const http = docsPage({ openapi: openapiExample })(links).html;
    expect(http).toContain('<h1>Shop 1.2.3</h1>');
    expect(http).not.toContain('AsyncAPI');
    expect(docsPage({ asyncapi })(links).html).not.toContain('OpenAPI');
  });

  test('has enough contrast in light and dark, by WCAG', () => {
    const style = readFileSync(browser('docs.css'), 'utf8');
    const themes = [...style.matchAll(/:root \{(.*?)\}/gs)].map(
      ([, rules]) => new Map([...String(rules).matchAll(/--([a-z-]+): #([0-9a-f]{6})/g)].map(([, k, v]) => [k, v])),
    );
    expect(themes).toHaveLength(2);
    const luminance = (hex = '') => {
      const [r = 0, g = 0, b = 0] = [0, 2, 4].map((at) => {
        const c = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
        return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    for (const theme of themes)
      for (const paper of ['paper', 'faint'])
        for (const ink of paper === 'paper' ? ['ink', 'quiet', 'accent'] : ['ink']) {
          const [low = 0, high = 0] = [luminance(theme.get(ink)), luminance(theme.get(paper))].sort((x, y) => x - y);
          expect((high + 0.05) / (low + 0.05)).toBeGreaterThanOrEqual(4.5);
        }
  });
});

describe('an HTTP operation', () => {
  test('has its parameters, those of its path too, and who may call it', () => {
    const shown = entry('http.post.orders');
    expect(shown).toContain('POST /orders');
    expect(shown).toContain('Places an order. Idempotent with a key.');
    expect(shown).toContain('Needs: bearer buyer');
    expect(shown).toMatch(/traceparent header string/);
    expect(shown).toMatch(/Idempotency-Key header string, length ≥ 1, length ≤ 255: Makes the request repeatable\./);
    expect(entry('http.get.healthz')).toContain('Needs: nothing');
    expect(entry('http.get.orders.id')).toMatch(/Deprecated\..*id path required string \(uuid\)/);
  });

  test('has its body as a tree with types, constraints and descriptions, and an example', () => {
    const shown = entry('http.post.orders');
    expect(shown).toContain('object, no other fields');
    expect(shown).toContain('userId required string, matches ^[a-z&lt;&gt;]+$: The &lt;buyer&gt;.');
    expect(shown).toMatch(/items required array of object, items ≥ 1 sku required string/);
    expect(shown).toContain('note string or null, default null');
    expect(shown).toMatch(/Example A mug \{ &quot;userId&quot;: &quot;ann&quot;/);
  });

  test('has every answer with its status, headers, schema and problem types', () => {
    const shown = entry('http.post.orders');
    expect(shown).toMatch(/201 The order\. .*Location string: Its path\. .*application\/json Order/);
    expect(shown).toContain(
      '422 The request is not valid. /problems/invalid-request, /problems/idempotency-key-reused',
    );
    expect(shown).toContain('503 Try again. /problems/unavailable');
  });

  test('links to named schemas, which may refer to themselves', () => {
    expect(both.html).toContain('<a href="#http.schema.Order">Order</a>');
    const shown = entry('http.schema.Order');
    expect(shown).toContain('total integer, ≥ 0');
    expect(shown).toContain('parent Order');
    expect(shown).toContain('status required string, one of placed, completed');
  });

  test('stands under its tag, and after it those without a tag', () => {
    const titles = [...both.html.matchAll(/<h3>(.*?)<\/h3>/g)].map(([, title]) => title);
    expect(titles.slice(0, 2)).toEqual(['Orders', 'Other']);
    expect(text(both.html)).toContain('Placing and reading orders.');
  });
});

describe('an event', () => {
  test.each(eventTypes)('%s has its senders, receivers, data and an example', (type) => {
    const shown = entry(`events.message.${type}`);
    expect(shown).toContain('Sent by');
    expect(shown).toContain('Received by');
    expect(shown).toMatch(/data required object/);
    expect(shown).toMatch(/Example .*&quot;specversion&quot;/);
  });

  test('is on its channels, with their bindings and operations', () => {
    expect(entry('events.message.order.placed')).toMatch(
      /Sent by ?order ?Received by ?points, coupon, notify, flash-sale/,
    );
    const queue = entry('events.channel.rabbitmq.queue.points');
    expect(queue).toContain('sluice.points');
    expect(queue).toMatch(/x-delivery-limit ?20/);
    expect(queue).toContain('points consumes its queue.');
    expect(entry('events.channel.presence')).toContain('sluice/services/{service}/{instance}');
    expect(entry('events.server.mqtt-session-points')).toMatch(/clientId ?sluice-points/);
  });
});

test('the script is valid for browsers', () => {
  const tsc = fileURLToPath(new URL('../../node_modules/.bin/tsc', import.meta.url));
  const { stdout, status } = spawnSync(tsc, ['--project', fileURLToPath(browser('tsconfig.json'))], {
    encoding: 'utf8',
  });
  expect(stdout).toBe('');
  expect(status).toBe(0);
});

interface FakeEntry {
  readonly id: string;
  readonly textContent: string;
  hidden: boolean;
}

/** The page's script on a page with these entries in one group each, and links to them. */
function searching(entries: Readonly<Record<string, string>>) {
  type Listener = (event: { key: string; preventDefault(): void }) => void;
  const listeners = new Map<string, Listener>();
  const on = (name: string) => (type: string, listener: Listener) => listeners.set(`${name} ${type}`, listener);
  const articles: FakeEntry[] = Object.entries(entries).map(([id, textContent]) => ({
    id,
    textContent,
    hidden: false,
  }));
  const groups = articles.map((article) => ({ hidden: false, querySelectorAll: () => [article] }));
  const items = articles.map(({ id }) => ({ hidden: false, querySelector: () => ({ hash: `#${id}` }) }));
  const list = {
    hidden: false,
    open: false,
    hasAttribute: () => false,
    toggleAttribute: (_name: string, force: boolean) => {
      list.open = force;
    },
    querySelectorAll: () => items,
  };
  const query = { value: '', focus: () => (document.activeElement = query), addEventListener: on('query') };
  const elements: Record<string, unknown> = {
    query,
    found: { textContent: '' },
    about: { hidden: false },
    search: { hidden: true },
  };
  let scrolledTo: string | undefined;
  const selected: Record<string, unknown[]> = {
    '.entry': articles,
    'nav li': items,
    '.group, .part': groups,
    'nav details': [list],
    'nav p': [],
  };
  const document = {
    activeElement: undefined as unknown,
    querySelectorAll: (selector: string) => selected[selector] ?? [],
    getElementById: (id: string) => {
      const article = articles.find((each) => each.id === id);
      return elements[id] ?? (article && { ...article, scrollIntoView: () => (scrolledTo = id) });
    },
    addEventListener: on('document'),
  };
  const location = { hash: '' };
  vm.runInNewContext(readFileSync(browser('docs.js'), 'utf8'), { document, location, addEventListener: on('window') });
  const send = (name: string, key = '') => listeners.get(name)?.({ key, preventDefault: () => {} });
  return {
    elements: elements as { search: { hidden: boolean }; about: { hidden: boolean }; found: { textContent: string } },
    list,
    /** The ids of the entries that are shown; their groups and links must agree. */
    shown: () => {
      const ids = articles.filter(({ hidden }) => !hidden).map(({ id }) => id);
      expect(groups.map(({ hidden }) => hidden)).toEqual(articles.map(({ hidden }) => hidden));
      expect(items.map(({ hidden }) => hidden)).toEqual(articles.map(({ hidden }) => hidden));
      return ids;
    },
    type: (value: string) => {
      query.value = value;
      send('query input');
    },
    press: (key: string) => send(document.activeElement === query ? 'query keydown' : 'document keydown', key),
    isFocused: () => document.activeElement === query,
    follow: (id: string) => {
      location.hash = `#${id}`;
      send('window hashchange');
      return scrolledTo;
    },
  };
}

describe('the search', () => {
  const entries = {
    a: 'POST /orders Places an order',
    b: 'GET /orders/{id}',
    c: 'order.placed The order is confirmed',
  };

  test('shows the entries with every word, in any case, and hides groups, links and the introduction', () => {
    const page = searching(entries);
    expect(page.elements.search.hidden).toBe(false);
    expect(page.shown()).toEqual(['a', 'b', 'c']);
    page.type('ORDER place');
    expect(page.shown()).toEqual(['a', 'c']);
    expect(page.elements.found.textContent).toBe('2 of 3 entries');
    expect(page.elements.about.hidden).toBe(true);
    expect(page.list.open).toBe(true);
    page.type('nothing');
    expect(page.shown()).toEqual([]);
    expect(page.list.hidden).toBe(true);
  });

  test('starts with / and ends with Escape', () => {
    const page = searching(entries);
    page.press('/');
    expect(page.isFocused()).toBe(true);
    page.type('get');
    expect(page.shown()).toEqual(['b']);
    page.press('Escape');
    expect(page.shown()).toEqual(['a', 'b', 'c']);
    expect(page.elements.found.textContent).toBe('');
    expect(page.list.open).toBe(false);
  });

  test('ends when a link leads to a hidden entry', () => {
    const page = searching(entries);
    page.type('confirmed');
    expect(page.follow('c')).toBeUndefined();
    expect(page.shown()).toEqual(['c']);
    expect(page.follow('a')).toBe('a');
    expect(page.shown()).toEqual(['a', 'b', 'c']);
  });
});
