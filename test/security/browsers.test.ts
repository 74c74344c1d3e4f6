// What a browser may make this server do for a page of another site, on every path of a whole system: the listeners in
// front of Express, Express, pages, and the WebSocket.

import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { responseHeaders } from '../../contracts/response-headers.ts';
import { createSale } from '../service/support/flash-sales.ts';
import { embedded, type System } from '../service/support/systems.ts';
import { freshUser, orderOf } from '../setup/api.ts';
import { eventually } from '../setup/wait.ts';
import { RawClient } from './server.ts';

const TRUSTED = 'https://shop.example.org';
const EVIL = 'https://evil.example';

let system: System;
let port: number;
let saleId: string;
beforeAll(async () => {
  system = await embedded.start({ CORS_ORIGINS: TRUSTED });
  port = Number(new URL(system.url('order')).port);
  saleId = (await createSale(system.url('order'))).id;
});
afterAll(() => system?.remove());

interface Asked {
  readonly method?: string;
  readonly path: string;
  readonly host?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: object;
}

/** The response to a request whose bytes are written as they are: an HTTP library would set Host itself. */
async function ask({ method = 'GET', path, host = `localhost:${port}`, headers = {}, body }: Asked) {
  const content = body === undefined ? '' : JSON.stringify(body);
  const all = {
    Host: host,
    Connection: 'close',
    ...(body && { 'Content-Type': 'application/json', 'Content-Length': content.length }),
    ...headers,
  };
  const client = await RawClient.open(port);
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  client.write(`${method} ${path} HTTP/1.1`, ...lines, '', content);
  await client.closed;
  const [head = '', text = ''] = client.received.split(/\r\n\r\n(.*)/s);
  const received = head
    .split('\r\n')
    .slice(1)
    .map((line) => line.split(/: (.*)/s) as [string, string]);
  return {
    status: client.status,
    headers: Object.fromEntries(received.map(([name, value]) => [name.toLowerCase(), value])),
    text,
  };
}

/** One of each kind: two in front of Express, two of Express, errors, a redirect, pages, files and metrics. */
const paths = (): readonly Asked[] => [
  { method: 'POST', path: '/orders', body: orderOf(freshUser()) },
  { method: 'POST', path: `/flash-sales/${saleId}/purchases`, body: { userId: freshUser() } },
  {
    method: 'POST',
    path: `/flash-sales/${saleId}/purchases`,
    body: { userId: freshUser() },
    headers: { Accept: 'text/html' },
  },
  { method: 'POST', path: '/orders/018f0000-0000-7000-8000-000000000000/cancel', body: {} },
  { method: 'DELETE', path: '/orders' },
  { path: '/' },
  { path: `/flash-sales/${saleId}` },
  { path: `/flash-sales/${saleId}`, headers: { Accept: 'text/html' } },
  { path: '/no-such-path' },
  { path: '/readyz' },
  { path: '/metrics' },
  { path: '/openapi.json' },
  { path: '/docs' },
  { path: '/docs/style.css' },
  { path: '/docs/script.js' },
];
const changes = () => paths().filter(({ method }) => method !== undefined);

test('no request gets through under a name of another site', async () => {
  for (const asked of paths()) {
    const { status, text } = await ask({ ...asked, host: `evil.example:${port}` });
    expect([asked.path, status]).toEqual([asked.path, 421]);
    expect(JSON.parse(text)).toMatchObject({
      type: '/problems/unknown-host',
      detail: expect.stringContaining('ALLOWED_HOSTS'),
    });
  }
  for (const host of ['localhost', `127.0.0.1:${port}`, '[::1]'])
    expect((await ask({ path: '/readyz', host })).status).toBe(200);
  const twice = await RawClient.open(port);
  twice.write('GET /readyz HTTP/1.1', 'Host: localhost', 'Host: evil.example', 'Connection: close', '', '');
  const old = (await RawClient.open(port)).write('GET /readyz HTTP/1.0', '', '');
  const proxied = (await RawClient.open(port)).write(
    'GET http://evil.example/readyz HTTP/1.1',
    'Host: localhost',
    'Connection: close',
    '',
    '',
  );
  await Promise.all([twice, old, proxied].map(({ closed }) => closed));
  expect([twice, old, proxied].map(({ status }) => status)).toEqual([400, 421, 421]);
});

test('pages of other sites change nothing', async () => {
  for (const asked of changes())
    for (const forged of [{ Origin: EVIL }, { Origin: 'null' }, { 'Sec-Fetch-Site': 'cross-site' }]) {
      const { status, text } = await ask({ ...asked, headers: { ...asked.headers, ...forged } });
      expect([asked.path, status]).toEqual([asked.path, 403]);
      expect(JSON.parse(text)).toMatchObject({
        type: '/problems/cross-site',
        detail: expect.stringContaining('CORS_ORIGINS'),
      });
    }
  const [order] = changes();
  const own = { Origin: `http://localhost:${port}`, 'Sec-Fetch-Site': 'same-origin' };
  expect((await ask({ ...(order as Asked), headers: own })).status).toBe(201);
});

describe('CORS', () => {
  test('the origins that are allowed may send requests and read the responses, on every path', async () => {
    for (const asked of paths()) {
      const { headers, status } = await ask({
        ...asked,
        headers: { ...asked.headers, Origin: TRUSTED, 'Sec-Fetch-Site': 'cross-site' },
      });
      expect([asked.path, status === 403, headers['access-control-allow-origin']]).toEqual([
        asked.path,
        false,
        TRUSTED,
      ]);
      expect(headers.vary).toContain('Origin');
      expect(headers['access-control-expose-headers']).toBe(Object.keys(responseHeaders).join(','));
      expect(headers['access-control-allow-credentials']).toBeUndefined();
    }
  });

  test('a preflight says what they may send', async () => {
    const preflight = (origin: string) =>
      ask({
        method: 'OPTIONS',
        path: '/orders',
        headers: {
          Origin: origin,
          'Access-Control-Request-Method': 'POST',
          'Access-Control-Request-Headers': 'content-type',
        },
      });
    const { status, headers } = await preflight(TRUSTED);
    expect(status).toBe(204);
    expect(headers).toMatchObject({
      'access-control-allow-origin': TRUSTED,
      'access-control-allow-methods': 'GET,HEAD,POST,PUT,DELETE',
      'access-control-allow-headers': 'Authorization,Content-Type,Idempotency-Key',
      vary: 'Origin',
    });
    const foreign = await preflight(EVIL);
    expect([foreign.status, foreign.headers['access-control-allow-origin']]).toEqual([405, undefined]);
  });

  test('other origins read nothing', async () => {
    for (const asked of paths().filter(({ method }) => method === undefined)) {
      const { headers } = await ask({ ...asked, headers: { ...asked.headers, Origin: EVIL } });
      expect(headers['access-control-allow-origin']).toBeUndefined();
      expect(headers.vary).toContain('Origin');
    }
  });
});

test('every response has the security headers', async () => {
  for (const asked of paths()) {
    const { headers } = await ask(asked);
    expect(headers, asked.path).toMatchObject({
      'x-content-type-options': 'nosniff',
      'cross-origin-resource-policy': 'same-origin',
      'content-security-policy': expect.stringMatching(/^default-src 'none';.*frame-ancestors 'none'/),
      'cache-control': expect.stringMatching(/^no-(store|cache)$/),
    });
    expect(headers['x-powered-by']).toBeUndefined();
    const isPage = headers['content-type']?.startsWith('text/html') && headers.location === undefined;
    if (isPage)
      expect(headers, asked.path).toMatchObject({
        'x-frame-options': 'DENY',
        'referrer-policy': 'same-origin',
        'cross-origin-opener-policy': 'same-origin',
        'content-security-policy': expect.stringMatching(
          /base-uri 'none';form-action '(none|self)';.*object-src 'none'/,
        ),
      });
  }
});

test('a WebSocket opens for the same names and origins', async () => {
  const statusFor = async (headers: Record<string, string>) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, 'mqtt', { headers });
    const opened = once(socket, 'open').then(
      () => '101',
      (error: Error) => /\d{3}/.exec(error.message)?.[0],
    );
    const status = await opened;
    socket.terminate();
    return status;
  };
  expect(await statusFor({})).toBe('101');
  expect(await statusFor({ Origin: TRUSTED })).toBe('101');
  expect(await statusFor({ Origin: `http://127.0.0.1:${port}` })).toBe('101');
  expect(await statusFor({ Origin: EVIL })).toBe('403');
  expect(await statusFor({ Origin: 'null' })).toBe('403');
  expect(await statusFor({ Host: 'evil.example' })).toBe('421');
  await eventually(async () => (await ask({ path: '/readyz' })).status === 200, { what: 'the system still runs' });
});
