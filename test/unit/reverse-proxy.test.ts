// Requests behind a reverse proxy: the path under which the client reaches the server, and whom to believe about it.
import { once } from 'node:events';
import { request } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { addressList, pathFor, ReverseProxy, type ReverseProxyOptions } from '../../infra/http/reverse-proxy.ts';
import { listen } from '../../infra/http/server.ts';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

const LOOPBACK = addressList('127.0.0.1');

/** The path, link and host of a request, as the listener behind `proxy` sees it. */
async function seen(
  options: Partial<ReverseProxyOptions>,
  path: string,
  headers: Record<string, string | string[]> = {},
) {
  const proxy = new ReverseProxy({ basePath: '', trusted: undefined, ...options });
  const { server, url } = await listen(
    proxy.before((received, response) => {
      response.end(JSON.stringify([received.url, pathFor(received, '/orders'), received.headers.host]));
    }),
    '127.0.0.1',
    0,
  );
  closing.push(() => server.close().closeAllConnections());
  const sent = request(`${url}`, { path, headers: { Host: 'shop', ...headers }, agent: false }).end();
  const [response] = await once(sent, 'response');
  const chunks = await response.toArray();
  return JSON.parse(Buffer.concat(chunks).toString()) as [string, string, string];
}

describe('BASE_PATH', () => {
  test('begins every link, whether the proxy removes the path or leaves it', async () => {
    const basePath = '/shop/eu';
    for (const [sent, received] of [
      ['/orders', '/orders'],
      ['/shop/eu/orders?userId=a', '/orders?userId=a'],
      ['/shop/eu', '/'],
      ['/shop/eu?x=1', '/?x=1'],
      ['/shop/eu2/orders', '/shop/eu2/orders'],
      ['/shop', '/shop'],
    ] as const)
      expect(await seen({ basePath }, sent)).toEqual([received, '/shop/eu/orders', 'shop']);
  });

  test('without it, and without trusted proxies, requests stay as they are', async () => {
    expect(await seen({}, '/orders', { 'X-Forwarded-Prefix': '/shop' })).toEqual(['/orders', '/orders', 'shop']);
  });
});

describe('X-Forwarded-Prefix', () => {
  const trusted = LOOPBACK;
  const linkOf = async (value: string | string[], options: Partial<ReverseProxyOptions> = { trusted }) =>
    (await seen(options, '/orders', { 'X-Forwarded-Prefix': value }))[1];

  test('begins every link if it comes from a trusted proxy, and then replaces BASE_PATH', async () => {
    expect(await linkOf('/shop')).toBe('/shop/orders');
    expect(await linkOf('/shop/')).toBe('/shop/orders');
    expect(await linkOf('/a.b/~c_d-e')).toBe('/a.b/~c_d-e/orders');
    expect(await linkOf('/other', { trusted, basePath: '/shop' })).toBe('/other/orders');
    expect(await linkOf('/', { trusted, basePath: '/shop' })).toBe('/orders');
  });

  test('is ignored from any other address', async () => {
    for (const list of ['127.0.0.2', '10.0.0.0/8', '::1'])
      expect(await linkOf('/evil', { trusted: addressList(list), basePath: '/shop' })).toBe('/shop/orders');
  });

  test('is ignored unless it is one plain path, because it becomes part of pages and headers', async () => {
    for (const value of [
      'shop',
      '//evil.example',
      '/shop//x',
      '/..',
      '/shop/../x',
      '/.',
      '/"><script>',
      '/%2e%2e',
      '/a b',
      '/a?b',
      '/a#b',
      '/a\\b',
      'https://evil.example',
      '/shop, /evil',
      '/\u00e9',
      `/${'x'.repeat(65)}`,
      '/x'.repeat(9),
      ['/shop', '/evil'],
    ])
      expect([value, await linkOf(value, { trusted, basePath: '/shop' })]).toEqual([value, '/shop/orders']);
  });
});

test('X-Forwarded-Host counts from a trusted proxy if it is one host', async () => {
  const hostOf = async (value: string, trusted = LOOPBACK) =>
    (await seen({ trusted }, '/', { 'X-Forwarded-Host': value }))[2];
  for (const host of ['shop.example', 'shop.example:8443', '[::1]:80']) expect(await hostOf(host)).toBe(host);
  for (const host of ['a, b', 'a/b', 'a@b', '', 'a b']) expect(await hostOf(host)).toBe('shop');
  expect(await hostOf('shop.example', addressList('10.0.0.1'))).toBe('shop');
});

test('a list of proxies has addresses and networks of both versions', () => {
  const list = addressList('127.0.0.1, 10.0.0.0/8,::1,fd00::/8');
  const has = (address: string) => list.check(address, address.includes(':') ? 'ipv6' : 'ipv4');
  for (const address of ['127.0.0.1', '10.255.0.1', '::1', 'fd12::1', '::ffff:10.1.1.1'])
    expect(has(address)).toBe(true);
  for (const address of ['127.0.0.2', '11.0.0.1', '::2', 'fe80::1', '::ffff:11.1.1.1'])
    expect(has(address)).toBe(false);
  for (const list of [
    '',
    'x',
    '10.0.0.0/33',
    '::1/129',
    '10.0.0',
    '1.2.3.4/',
    '127.0.0.1,',
    '10.0.0.0/-1',
    'localhost',
  ])
    expect(() => addressList(list)).toThrow(RangeError);
});
