// The server reports each request with its route once its response has ended.
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { reply } from '../../infra/http/api.ts';
import { createApp } from '../../infra/http/app.ts';
import { OverloadGuard } from '../../infra/http/overload.ts';
import { routeOf, setRoute } from '../../infra/http/route-of.ts';
import { listen } from '../../infra/http/server.ts';
import { deferred } from '../../infra/runtime/promises.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { eventually } from '../setup/wait.ts';

const get = (path: string) =>
  ({ method: 'get', access: 'public', path, responses: { 200: { json: z.unknown() } } }) as const;
const PURCHASES = { path: '/sales/:id/purchases' };

/** Serves an app and a listener in front of it; `reported` are the requests: method, route, status, seconds. `arrived`: at /never. */
async function serve() {
  const reported: [string | undefined, string, number | undefined, number][] = [];
  const arrived = deferred();
  const app = createApp(pino({ level: 'silent' }), (api) => {
    api.handle(get('/orders/:id'), async () => reply(200, {}));
    api.handle(get('/slow'), async () => {
      await delay(50);
      return reply(200, {});
    });
    api.handle(get('/never'), async () => {
      arrived.resolve();
      return undefined;
    });
  });
  const guard = new OverloadGuard({ isSheddable: ({ url }) => url?.startsWith('/sales/') === true, maxInFlight: 0 });
  const guarded = guard.guard(app);
  cleanUps.push(async () => guard.stop());
  const server = await listen(
    (request, response) => {
      if (request.url?.startsWith('/sales/')) setRoute(request, PURCHASES);
      if (request.url === '/sales/1/purchases?rejected') response.writeHead(409).end();
      else guarded(request, response);
    },
    '127.0.0.1',
    0,
    {
      onResponse: (request, response, seconds) => {
        const status = response.headersSent ? response.statusCode : undefined;
        reported.push([request.method, routeOf(request), status, seconds]);
      },
    },
  );
  cleanUps.push(async () => void server.server.close());
  return { url: server.url, reported, arrived: arrived.promise };
}

test.each([
  ['GET', '/orders/a7', '/orders/:id', 200],
  ['HEAD', '/orders/a7?x=1', '/orders/:id', 200],
  ['DELETE', '/orders/a7', '/orders/:id', 405],
  ['GET', '/other/a7', 'unknown', 404],
  ['POST', '/sales/1/purchases?rejected', '/sales/:id/purchases', 409],
  ['POST', '/sales/1/purchases', '/sales/:id/purchases', 503],
])('%s %s is a request of %s', async (method, path, pattern, status) => {
  const { url, reported } = await serve();
  const response = await fetch(`${url}${path}`, { method, headers: { connection: 'close' } });
  await response.arrayBuffer();
  expect(response.status).toBe(status);
  await eventually(() => reported.length === 1, { what: 'the request is reported' });
  expect(reported).toEqual([[method, pattern, status, expect.any(Number)]]);
});

test('the duration ends with the response', async () => {
  const { url, reported } = await serve();
  await (await fetch(`${url}/slow`, { headers: { connection: 'close' } })).arrayBuffer();
  await eventually(() => reported.length === 1, { what: 'the request is reported' });
  expect(reported[0]?.[3]).toBeGreaterThan(0.045);
});

test('a client that breaks off before the response leaves no status', async () => {
  const { url, reported, arrived } = await serve();
  const { hostname, port } = new URL(url);
  const client = connect(Number(port), hostname);
  client.write('GET /never HTTP/1.1\r\nHost: test\r\n\r\n');
  await arrived;
  client.destroy();
  await eventually(() => reported.length === 1, { what: 'the request is reported' });
  expect(reported).toEqual([['GET', '/never', undefined, expect.any(Number)]]);
});
