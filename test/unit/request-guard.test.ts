// Which requests a page of another site may have caused: by the names in a request, and by its origin.
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { type GuardOptions, hostList, isLoopback, originList, RequestGuard } from '../../infra/http/request-guard.ts';

const LOCAL: GuardOptions = { hosts: [], origins: [], exposedHeaders: ['Location'] };
const SHOP: GuardOptions = { ...LOCAL, hosts: ['shop.example.org'] };
const ANY: GuardOptions = { ...LOCAL, hosts: undefined };

interface Asked {
  readonly method?: string;
  readonly target?: string;
  /** Undefined: no header. */
  readonly host?: string | undefined;
  /** X-Forwarded-Host of a trusted proxy. */
  readonly forwardedHost?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The request as node:http and ReverseProxy hand it over. */
function requestOf({ method = 'GET', target = '/', forwardedHost, headers = {}, ...rest }: Asked): IncomingMessage {
  const request = new IncomingMessage(new Socket());
  const host = 'host' in rest ? rest.host : 'localhost:3000';
  const all = { ...(host !== undefined && { host }), ...headers };
  Object.assign(request, { method, url: target });
  request.rawHeaders.push(...Object.entries(all).flat());
  Object.assign(request.headers, all, forwardedHost !== undefined && { host: forwardedHost });
  return request;
}

/** 200 if the request reached the next listener. */
function statusOf(options: GuardOptions, asked: Asked): number {
  const request = requestOf(asked);
  const response = new ServerResponse(request);
  new RequestGuard(options).before((_request, passed) => passed.writeHead(200).end())(request, response);
  return response.statusCode;
}

describe('Host', () => {
  test.each([
    ['localhost', 200],
    ['localhost:3000', 200],
    ['LocalHost:3000', 200],
    ['localhost.', 200],
    ['localhost:', 200],
    ['127.0.0.1', 200],
    ['127.0.0.1:65535', 200],
    ['192.168.1.5:3000', 200],
    ['[::1]:3000', 200],
    ['[2001:DB8::1]', 200],
    ['evil.example', 421],
    ['evil.example:3000', 421],
    ['localhost.evil.example', 421],
    ['evil-localhost', 421],
    ['127.0.0.1.evil.example', 421],
    ['127.1', 421],
    ['2130706433', 421],
    ['0x7f.1', 421],
    ['::1', 421],
    ['[::1', 421],
    ['[evil.example]', 421],
    ['[fe80::1%25eth0]', 421],
    ['user@localhost', 421],
    ['localhost@evil.example', 421],
    ['localhost:3000:3000', 421],
    ['localhost:port', 421],
    ['localhost..', 421],
    ['localhost/', 421],
    ['localhost, evil.example', 421],
    ['', 421],
    [undefined, 421],
  ])('%j on a loopback address: %i', (host, status) => expect(statusOf(LOCAL, { host })).toBe(status));

  test.each([
    ['shop.example.org', 200],
    ['SHOP.example.org.:8080', 200],
    ['localhost', 200],
    ['10.1.2.3', 200],
    ['www.shop.example.org', 421],
    ['example.org', 421],
    [undefined, 421],
  ])('%j with ALLOWED_HOSTS=shop.example.org: %i', (host, status) => expect(statusOf(SHOP, { host })).toBe(status));

  test.each(['evil.example', 'order:3000', undefined])('%j on another address: 200', (host) =>
    expect(statusOf(ANY, { host })).toBe(200),
  );

  test('the name that a proxy forwards and the one that arrives must both be allowed', () => {
    const proxied = (host: string, forwardedHost: string) => statusOf(SHOP, { host, forwardedHost });
    expect(proxied('127.0.0.1:3000', 'shop.example.org')).toBe(200);
    expect(proxied('shop.example.org', 'shop.example.org')).toBe(200);
    // DNS rebinding to the proxy.
    expect(proxied('127.0.0.1:3000', 'evil.example:8080')).toBe(421);
    // DNS rebinding to this server, past the proxy: a page may set X-Forwarded-Host in requests to its own origin.
    expect(proxied('evil.example:3000', 'shop.example.org')).toBe(421);
  });

  test('a target with a host counts like a Host', () => {
    const at = (target: string, host = 'localhost') => statusOf(LOCAL, { target, host });
    expect(at('http://localhost:3000/orders?a=1')).toBe(200);
    expect(at('http://evil.example/')).toBe(421);
    expect(at('http://localhost/', 'evil.example')).toBe(421);
    expect(at('http://user@localhost/')).toBe(400);
    expect(at('ftp://localhost/')).toBe(400);
    expect(at('http://')).toBe(400);
    expect(at('*')).toBe(200);
    const request = requestOf({ target: 'http://LOCALHOST:80/orders?a=1' });
    new RequestGuard(LOCAL).before(() => undefined)(request, new ServerResponse(request));
    expect([request.url, request.headers.host]).toEqual(['/orders?a=1', 'localhost']);
  });

  test('the last name that was allowed allows no other', () => {
    const guard = new RequestGuard(LOCAL);
    const admits = (asked: Asked) => guard.admitUpgrade(requestOf(asked), new Socket());
    expect(admits({ host: 'localhost' })).toBe(true);
    expect(admits({ host: 'evil.example' })).toBe(false);
    expect(admits({ host: 'localhost', forwardedHost: 'evil.example' })).toBe(false);
    expect(admits({ host: undefined })).toBe(false);
    expect(admits({ host: undefined })).toBe(false);
    expect(admits({ host: 'localhost' })).toBe(true);
  });
});

describe('Origin and Sec-Fetch-Site', () => {
  const trusting: GuardOptions = { ...ANY, origins: ['https://shop.example.org'] };

  test.each<[host: string, headers: Record<string, string>, status: number]>([
    ['localhost:3000', {}, 200],
    ['localhost:3000', { origin: 'http://localhost:3000' }, 200],
    ['LOCALHOST:3000', { origin: 'http://localhost:3000' }, 200],
    ['example.org:80', { origin: 'http://example.org' }, 200],
    ['example.org:443', { origin: 'https://example.org' }, 200],
    ['example.org', { origin: 'https://example.org' }, 200],
    ['[::1]:3000', { origin: 'http://[::1]:3000' }, 200],
    ['localhost:3000', { origin: 'http://localhost:3000', 'sec-fetch-site': 'same-origin' }, 200],
    ['localhost:3000', { 'sec-fetch-site': 'none' }, 200],
    ['localhost:3000', { origin: 'https://shop.example.org', 'sec-fetch-site': 'cross-site' }, 200],
    ['example.org:80', { origin: 'https://example.org' }, 403],
    ['example.org:443', { origin: 'http://example.org' }, 403],
    ['localhost:3000', { origin: 'http://localhost:3001' }, 403],
    ['localhost:3000', { origin: 'http://localhost' }, 403],
    ['localhost:3000', { origin: 'http://127.0.0.1:3000' }, 403],
    ['localhost:3000', { origin: 'http://evil.example' }, 403],
    ['localhost:3000', { origin: 'http://localhost:3000.evil.example' }, 403],
    ['localhost:3000', { origin: 'http://evil@localhost:3000.evil.example' }, 403],
    ['localhost:3000', { origin: 'null' }, 403],
    ['localhost:3000', { origin: '' }, 403],
    ['localhost:3000', { origin: 'file://localhost:3000' }, 403],
    ['localhost:3000', { origin: 'http://localhost:3000, http://evil.example' }, 403],
    ['localhost:3000', { origin: 'http://shop.example.org' }, 403],
    ['localhost:3000', { origin: 'https://shop.example.org.evil.example' }, 403],
    ['localhost:3000', { 'sec-fetch-site': 'cross-site' }, 403],
    ['localhost:3000', { origin: 'http://localhost:3000', 'sec-fetch-site': 'cross-site' }, 403],
    ['other.example.org', { origin: 'https://example.org', 'sec-fetch-site': 'same-site' }, 403],
  ])('to %s with %j: %i', (host, headers, status) => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'TRACE'])
      expect(statusOf(trusting, { method, host, headers }), method).toBe(status);
    for (const method of ['GET', 'HEAD']) expect(statusOf(trusting, { method, host, headers }), method).toBe(200);
    // A WebSocket is opened with GET, and any site may open one.
    const admitted = new RequestGuard(trusting).admitUpgrade(requestOf({ host, headers }), new Socket());
    expect(admitted).toBe(status === 200);
  });

  test('an origin and no host', () => {
    expect(statusOf(ANY, { method: 'POST', host: undefined, headers: { origin: 'http://' } })).toBe(403);
  });
});

test.each([
  ['127.0.0.1', true],
  ['127.9.9.9', true],
  ['::1', true],
  ['0:0:0:0:0:0:0:1', true],
  ['LOCALHOST', true],
  ['0.0.0.0', false],
  ['::', false],
  ['10.0.0.1', false],
  ['localhost.example.org', false],
])('only this machine reaches %s: %s', (host, expected) => expect(isLoopback(host)).toBe(expected));

test('the settings', () => {
  expect(hostList('Shop.example.org, order')).toEqual(['shop.example.org', 'order']);
  for (const list of ['', '*', '*.example.org', 'http://a', 'a:80', 'a,', 'a/b', '.a', 'a b'])
    expect(() => hostList(list), list).toThrow(RangeError);
  expect(originList('https://a.example, http://localhost:5173')).toEqual([
    'https://a.example',
    'http://localhost:5173',
  ]);
  for (const list of [
    '',
    '*',
    'null',
    'a.example',
    'https://a.example/',
    'https://a.example:443',
    'ftp://a',
    'https://a,',
  ])
    expect(() => originList(list), list).toThrow(RangeError);
});
