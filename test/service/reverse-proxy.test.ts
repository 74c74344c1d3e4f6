// A browser and programs behind nginx, with the configuration of docs/reverse-proxies.md.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type Nginx, startNginx } from '../servers/nginx.ts';
import { ServerMissing } from '../servers/programs.ts';
import { call, freshUser, orderOf, postJson, readOrder } from '../setup/api.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually } from '../setup/wait.ts';
import { asBrowser, buyByForm, createSale, readTicket } from './support/flash-sales.ts';
import { embedded, type System } from './support/systems.ts';

const documented = /```nginx\n(.*?)```/s.exec(
  readFileSync(new URL('../../docs/reverse-proxies.md', import.meta.url), 'utf8'),
)?.[1];

/** The documented configuration, with the ports of this test. */
const configured = (system: System) => (port: number) =>
  String(documented)
    .replace('127.0.0.1:3000', new URL(system.url('order')).host)
    .replace('listen 8080', `listen 127.0.0.1:${port}`);

let system: System;
beforeAll(async () => {
  system = await embedded.start({ TRUSTED_PROXIES: '127.0.0.1', BASE_PATH: '/shop/' });
});
afterAll(() => system?.remove());

test('an upgrade to another path is rejected, and a client that resets it changes nothing', async () => {
  const { host, port } = new URL(system.url('order'));
  const upgrade = `GET /shop/other HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
  const rejected = connect(Number(port), '127.0.0.1').end(upgrade);
  expect(String((await once(rejected, 'data'))[0])).toMatch(/^HTTP\/1.1 404 /);
  for (let client = 0; client < 20; client++) {
    const socket = connect(Number(port), '127.0.0.1');
    await new Promise<void>((resolve) => socket.write(upgrade, () => resolve()));
    socket.resetAndDestroy();
  }
  expect((await call(`${system.url('order')}/readyz`)).status).toBe(200);
});

const withoutHeader = (conf: string) => conf.replace(/.*X-Forwarded-Prefix.*\n/, '');

describe.for([
  ['X-Forwarded-Prefix', '/market', (conf: string) => conf.replaceAll('/shop', '/market')],
  ['BASE_PATH', '/shop', withoutHeader],
  [
    'BASE_PATH, and a proxy that leaves the path',
    '/shop',
    (conf: string) => withoutHeader(conf).replace('http://sluice/;', 'http://sluice;'),
  ],
] as const)('behind nginx, with %s', ([, basePath, change]) => {
  let nginx: Nginx | undefined;
  beforeAll(async () => {
    nginx = await startNginx((port) => change(configured(system)(port))).catch((error) => {
      if (error instanceof ServerMissing && process.env.CI === undefined) return undefined;
      throw error;
    });
  });
  afterAll(() => nginx?.stop());
  const root = () => String(nginx?.url);
  const shop = () => `${root()}${basePath}`;

  test('a browser buys and pays by links, forms and redirects below the path', async ({ skip }) => {
    if (!nginx) return skip();
    const sale = await createSale(shop(), { holdSeconds: 3_600 });
    const page = await call(`${shop()}/flash-sales/${sale.id}`, { headers: asBrowser });
    const action = /action="([^"]*)"/.exec(page.text)?.[1];
    expect(action).toBe(`${basePath}/flash-sales/${sale.id}/purchases`);
    for (const [, link] of page.text.matchAll(/ href="([^"]*)"/g)) expect(link?.startsWith(`${basePath}/`)).toBe(true);

    const bought = await buyByForm(shop(), sale.id, { userId: freshUser() });
    const location = String(bought.headers.location);
    expect([bought.status, location]).toEqual([
      303,
      expect.stringContaining(`${basePath}/flash-sales/${sale.id}/purchases/`),
    ]);
    const ticketId = String(location.split('/').at(-1));
    await eventually(async () => (await readTicket(shop(), sale.id, ticketId)).status === 'awaiting-payment', {
      what: 'the ticket awaits payment',
    });

    const ticket = await call(`${root()}${location}`, { headers: asBrowser });
    const [, payPath = '', returnTo = ''] =
      /<form id="pay" method="post" action="([^"]*)" >\s*<input type="hidden" name="returnTo" value="([^"]*)">/.exec(
        ticket.text,
      ) ?? [];
    expect(payPath).toMatch(new RegExp(`^${basePath}/orders/[^/]+/pay$`));
    const paid = await call(`${root()}${payPath}`, {
      method: 'POST',
      headers: { ...asBrowser, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ returnTo }).toString(),
    });
    expect([paid.status, paid.headers.location]).toEqual([303, `${location}?payment=paid`]);
    expect((await call(`${root()}${paid.headers.location}`, { headers: asBrowser })).status).toBe(200);
    await eventually(async () => (await readTicket(shop(), sale.id, ticketId)).status === 'ordered', {
      what: 'it is ordered',
    });
  });

  test('programs get Location and statusUrl below the path, and reach the server without the proxy', async ({
    skip,
  }) => {
    if (!nginx) return skip();
    const placed = await postJson(`${shop()}/orders`, orderOf(freshUser()));
    const { id } = placed.json(schemas.order);
    expect(placed.headers.location).toBe(`${basePath}/orders/${id}`);
    const sale = await createSale(shop());
    const bought = await postJson(`${shop()}/flash-sales/${sale.id}/purchases`, { userId: freshUser() });
    expect(bought.json(schemas.purchase).statusUrl).toContain(`${basePath}/flash-sales/${sale.id}/purchases/`);
    expect(bought.headers.location).toBe(bought.json(schemas.purchase).statusUrl);
    expect((await call(`${system.url('order')}/readyz`)).status).toBe(200);
    expect((await readOrder(system.url('order'), id)).id).toBe(id);
  });

  test('the page of the contracts loads its files, and links the documents, below the path', async ({ skip }) => {
    if (!nginx) return skip();
    const { text } = await call(`${shop()}/docs`);
    const urls = [...text.matchAll(/\s(?:href|src)="(\/[^"]*)"/g)].map(([, url]) => String(url));
    expect(urls).toEqual(
      ['/docs/style.css', '/docs/script.js', '/openapi.json', '/asyncapi.json'].map((path) => `${basePath}${path}`),
    );
    for (const url of urls) expect((await call(`${root()}${url}`)).status).toBe(200);
  });

  test('a browser connects to the MQTT broker below the path, and another site does not', async ({ skip }) => {
    if (!nginx) return skip();
    const url = `${shop().replace('http', 'ws')}/mqtt`;
    const socket = new WebSocket(url, 'mqtt', { origin: root() });
    await once(socket, 'open');
    socket.terminate();
    const foreign = new WebSocket(url, 'mqtt', { origin: 'https://evil.example' });
    const [error] = await once(foreign, 'error');
    expect(String(error)).toContain('403');
  });
});
