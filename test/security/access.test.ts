// Who may do what, over HTTP: every route of the table with every kind of caller, and with the ids of another user.
import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { tokenRules } from '../../app/access/token-access.ts';
import type { ProblemName } from '../../contracts/problems.ts';
import { routesOf } from '../../contracts/routes/index.ts';
import type { Route } from '../../contracts/routes/route.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { CallerRole } from '../../infra/access/caller.ts';
import { secretKeys } from '../../infra/access/keys.ts';
import { signToken } from '../../infra/access/tokens.ts';
import { onEachShape } from '../service/support/each-shape.ts';
import { embedded, type System, separateProcesses } from '../service/support/systems.ts';
import { type Answer, call, mugs } from '../setup/api.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually } from '../setup/wait.ts';

const AUTH_SECRET = 'a secret of at least 32 bytes, for tests';
const rules = tokenRules({ AUTH_MODE: 'jwt', AUTH_USER_CLAIM: 'sub' } as Parameters<typeof tokenRules>[0]);

const tokenFor = async (user: string, roles: CallerRole[] = [], expiresInSeconds = 3_600) =>
  signToken(await secretKeys(AUTH_SECRET), rules, { user, roles, expiresInSeconds });

/** A request with a token, if there is one. */
const as =
  (token: string | undefined) =>
  (method: Route['method'], url: string, body?: unknown): Promise<Answer> =>
    call(url, {
      method: method.toUpperCase() as 'GET',
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });

const typeOf = ({ body }: Answer) => (body as { type?: string } | undefined)?.type?.replace('/problems/', '');

/** The service whose processes serve a route. */
function serverOf({ path }: Route): ServiceName {
  if (/^\/users\/.*points|^\/audit\/points/.test(path)) return 'points';
  if (/^\/users\/.*coupons|^\/audit\/coupon/.test(path)) return 'coupon';
  if (/^\/users\/.*notifications|^\/audit\/notify/.test(path)) return 'notify';
  return /^\/(flash-sales|audit\/flash-sale)/.test(path) ? 'flash-sale' : 'order';
}

const routes = Object.entries(routesOf());

onEachShape(
  { shapes: [embedded, separateProcesses(inject('servers'))], env: { AUTH_MODE: 'jwt', AUTH_SECRET } },
  (on) => {
    const onShape = on.test;
    const urlOf = (route: Route, path: string) => `${on.system.url(serverOf(route))}${path}`;
    let alice: Awaited<ReturnType<typeof storyOf>>;
    let bob: Awaited<ReturnType<typeof storyOf>>;
    let tokens: Record<'operator' | 'service' | 'expired', string>;

    beforeAll(async () => {
      if (!on.shape.available) return;
      tokens = {
        operator: await tokenFor('olga', ['operator']),
        service: await tokenFor('sluice', ['service']),
        expired: await tokenFor('alice', ['operator'], -60),
      };
      const saleId = await newSale(on.system, tokens.operator);
      alice = await storyOf(on.system, saleId, 'alice.b:c@example-1');
      bob = await storyOf(on.system, saleId, 'bob');
    });

    /** The request of a route about what a user has; `other` replaces ids by those of things that do not exist. */
    const requestOf = (route: Route, story: typeof alice, other = false) => {
      const values: Record<string, string> = {
        id: route.path.startsWith('/flash-sales') ? story.saleId : other ? randomUUID() : story.orderId,
        orderId: other ? randomUUID() : story.orderId,
        ticketId: other ? randomUUID() : story.ticketId,
        userId: other ? 'nobody' : story.user,
        service: 'order',
        run: randomUUID(),
        name: 'not-found',
      };
      const path = route.path.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(values[name] ?? name));
      const query = route.userIn === 'query' ? `?userId=${encodeURIComponent(values.userId ?? '')}` : '';
      const rest = route.path.endsWith('/rejected') ? '&reason=queue-full' : '';
      const body = route.userIn === 'body' ? { ...route.body?.example, userId: values.userId } : route.body?.example;
      return { method: route.method, url: urlOf(route, path + query + rest), body };
    };
    const send = (token: string | undefined, { method, url, body }: ReturnType<typeof requestOf>) =>
      as(token)(method, url, body ?? (method === 'post' ? {} : undefined));

    describe.for(routes)('%s', ([, route]) => {
      onShape('without a token, and with one that has expired', async () => {
        for (const token of [undefined, tokens.expired]) {
          const answer = await send(token, requestOf(route, alice));
          if (route.access === 'public') {
            const isSignIn = route.path === '/session' && route.method === 'post';
            if (!isSignIn) expect([401, 403]).not.toContain(answer.status);
          } else {
            expect(answer.status, answer.text).toBe(401);
            expect(answer.headers['www-authenticate']).toMatch(/^Bearer realm="sluice"/);
          }
        }
      });

      if (route.method === 'get')
        onShape('is for operators', async () => {
          expect([401, 403]).not.toContain((await send(tokens.operator, requestOf(route, alice))).status);
        });

      if (route.access === 'operator' || route.access === 'service')
        onShape('is not for buyers', async () => {
          expect(typeOf(await send(alice.token, requestOf(route, alice)))).toBe('forbidden' satisfies ProblemName);
          const asService = await send(tokens.service, requestOf(route, alice));
          if (route.access === 'operator') expect(asService.status).toBe(403);
          else expect(asService.status, asService.text).not.toBe(403);
        });

      if (route.userIn !== undefined)
        onShape("another user's is as if it did not exist", async () => {
          const own = await send(bob.token, requestOf(route, bob));
          expect([401, 403, 404].includes(own.status), own.text).toBe(false);
          const others = await send(bob.token, requestOf(route, alice));
          if (route.userIn === 'body') expect(typeOf(others)).toBe('forbidden' satisfies ProblemName);
          else {
            expect(typeOf(others), others.text).toBe('not-found' satisfies ProblemName);
            const missing = await send(bob.token, requestOf(route, alice, true));
            const visible = ({ status, text, headers: { date: _, ...headers } }: Answer) => ({ status, text, headers });
            expect(visible(others)).toEqual(visible(missing));
          }
        });
    });

    onShape("what belongs to alice is unchanged by bob's requests", async () => {
      const url = on.system.url('order');
      const read = await as(alice.token)('get', `${url}/orders/${alice.orderId}`);
      expect(read.json(schemas.order)).toMatchObject({ userId: alice.user, status: 'completed' });
      const { items } = (await as(alice.token)('get', `${url}/orders`)).json(schemas.ordersPage);
      expect(items.map(({ userId }) => userId)).toEqual(items.map(() => alice.user));
    });

    onShape('a request that names no user is about the user of the token', async () => {
      const url = on.system.url('order');
      const placed = await as(bob.token)('post', `${url}/orders`, { currency: 'GBP', items: mugs });
      expect(placed.json(schemas.order).userId).toBe('bob');
      const forOther = await as(tokens.operator)('post', `${url}/orders`, {
        userId: 'carol',
        currency: 'GBP',
        items: mugs,
      });
      expect(forOther.json(schemas.order).userId).toBe('carol');
      const { id } = forOther.json(schemas.order);
      const cancelled = await as(tokens.operator)('post', `${url}/orders/${id}/cancel`, { reason: 'asked by phone' });
      expect(cancelled.status).toBe(200);
      const actions = (await as(tokens.operator)('get', `${url}/operator-actions`)).json(schemas.operatorActionsPage);
      expect(actions.items.slice(0, 2)).toMatchObject([
        {
          who: 'olga',
          action: 'order.cancel',
          target: id,
          details: { userId: 'carol' },
          after: { status: 'cancelled' },
        },
        { who: 'olga', action: 'order.place', details: { userId: 'carol' }, before: null },
      ]);
      const listed = await as(tokens.operator)('get', `${url}/orders?userId=carol`);
      expect(listed.json(schemas.ordersPage).items).toHaveLength(1);
    });

    onShape('no forged token learns from a rejection whether its user holds a ticket', async () => {
      const url = on.system.url('flash-sale');
      const { example } = routesOf().createFlashSale?.body ?? {};
      const created = await as(tokens.operator)('post', `${url}/flash-sales`, { ...example, stock: 1, queueCap: 1 });
      const purchases = `${url}/flash-sales/${created.json(schemas.flashSale).id}/purchases`;
      expect((await as(bob.token)('post', purchases, {})).status).toBe(202);
      const rejected = () => as(alice.token)('post', purchases, {});
      await eventually(async () => (await rejected()).status === 409, { what: 'the sale to be sold out' });
      const [header, , signature] = alice.token.split('.');
      for (const sub of ['bob', 'nobody']) {
        const claims = Buffer.from(JSON.stringify({ sub, exp: 4_102_444_800 })).toString('base64url');
        expect((await as(`${header}.${claims}.${signature}`)('post', purchases, {})).status).toBe(401);
      }
      // Also from memory, a buyer gets its own ticket, and nobody buys for another one.
      expect((await as(bob.token)('post', purchases, {})).status).toBe(200);
      expect(typeOf(await as(alice.token)('post', purchases, { userId: 'bob' }))).toBe('forbidden');
    });

    onShape('fields that only the system sets are rejected, and change nothing', async () => {
      const url = on.system.url('order');
      for (const field of ['id', 'status', 'total', 'paidAt', 'steps', 'roles', 'isAdmin', '__proto__', 'constructor'])
        for (const token of [bob.token, tokens.operator]) {
          const body = JSON.stringify({ currency: 'GBP', items: mugs }).replace('{', `{"${field}":{"x":1},`);
          const answer = await call(`${url}/orders`, {
            method: 'POST',
            headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
            body,
          });
          expect(answer.status, `${field}: ${answer.text}`).toBe(422);
        }
      expect(({} as { x?: unknown }).x).toBeUndefined();
    });

    onShape('tells of its inside only to operators and services', async () => {
      const url = on.system.url('order');
      for (const token of [undefined, bob.token])
        expect((await as(token)('get', `${url}/readyz`)).body).toMatchObject({
          resources: {},
          consumers: {},
          loops: [],
        });
      for (const token of [tokens.service, tokens.operator])
        expect((await as(token)('get', `${url}/readyz`)).body).toMatchObject({
          resources: { database: { status: 'up' } },
        });
    });

    onShape('processes read the history from one another with a token of their own', async () => {
      const url = `${on.system.url('order')}/orders/${alice.orderId}/history`;
      const history = (await as(tokens.operator)('get', url)).json(schemas.orderHistory);
      expect(history.missing).toEqual([]);
      expect(new Set(history.items.map(({ service }) => service))).toEqual(
        new Set(['order', 'points', 'coupon', 'notify']),
      );
    });

    onShape('an operator action is recorded with its operator', async () => {
      const { items } = (await as(tokens.operator)('get', `${on.system.url('flash-sale')}/operator-actions`)).json(
        schemas.operatorActionsPage,
      );
      expect(items.map(({ who, action }) => [who, action])).toContainEqual(['olga', 'flash-sale.create']);
    });

    describe('a request that tries to get around the routes', () => {
      const raw = (token: string, head: string, body = '') =>
        `${head}\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n${body}`;
      const statuses = (received: string) =>
        [...received.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status));

      onShape('in another form of the path reaches no more than in the usual one', async () => {
        const url = on.system.url('order');
        for (const path of [
          '/metrics',
          '/METRICS',
          '/metrics/',
          '//metrics',
          '/./metrics',
          '/orders/../metrics',
          '/%6detrics',
          '/metrics?x=/healthz',
          '/metrics#/healthz',
          '/metrics;/healthz',
          '/healthz/../metrics',
          '/healthz/..%2fmetrics',
          '/docs/..%5cmetrics',
          '/metrics%00.json',
          `/orders/${alice.orderId}`,
          `/ORDERS/${alice.orderId.toUpperCase()}`,
          `/orders/${alice.orderId}/`,
          `//orders/${alice.orderId}`,
          `/orders/%2e/${alice.orderId}`,
          `/users/${encodeURIComponent(alice.user)}/../bob/points`,
          'http://localhost/metrics',
        ])
          for (const method of ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'DELETE', 'TRACE', 'PROPFIND']) {
            const received = await exchange(url, raw(bob.token, `${method} ${path} HTTP/1.1\r\nConnection: close`));
            const [status = 0] = statuses(received);
            expect(status, `${method} ${path}: ${received}`).toBeGreaterThanOrEqual(400);
            expect(received).not.toContain('sluice_');
            expect(received).not.toContain(alice.user);
          }
      });

      onShape('hides a second request in the first one: no server reads it', async () => {
        const url = on.system.url('order');
        const hidden = `POST /orders/${alice.orderId}/cancel HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${alice.token}\r\n\r\n`;
        const length = Buffer.byteLength(hidden);
        const post = 'POST /orders HTTP/1.1';
        for (const headers of [
          'Content-Length: 4\r\nTransfer-Encoding: chunked',
          `Transfer-Encoding: chunked\r\nContent-Length: ${length}`,
          `Content-Length: 0\r\nContent-Length: ${length}`,
          `Content-Length: 0, ${length}`,
          'Content-Length: +0',
          'Content-Length: 0x0',
          'Content-Length : 0',
          ' Content-Length: 0',
          'Transfer-Encoding: identity, chunked',
          'Transfer-Encoding: chunked, identity',
          'Transfer-Encoding: xchunked',
          'Transfer-Encoding:\x0bchunked',
          'Transfer-Encoding: chunked\r\nTransfer-Encoding: x',
          'X: y\nContent-Length: 0',
        ]) {
          const received = await exchange(url, raw(bob.token, `${post}\r\n${headers}`, `0\r\n\r\n${hidden}`));
          expect(statuses(received).length, headers).toBeLessThanOrEqual(1);
          expect(
            statuses(received).every((status) => status >= 400),
            `${headers}: ${received}`,
          ).toBe(true);
        }
        const order = await as(alice.token)('get', `${url}/orders/${alice.orderId}`);
        expect(order.json(schemas.order).status).toBe('completed');
      });

      onShape('injects no SQL, and no line into the log', async () => {
        const url = on.system.url('order');
        const texts = [
          "'; DROP TABLE sluice_order.orders; --",
          '\\',
          "' OR '1'='1",
          '$1',
          '%s',
          '\u2028',
          '\n{"level":60,"msg":"forged"}',
        ];
        for (const name of texts) {
          const items = [{ sku: 'SKU', name, quantity: 1, unitPrice: 1 }];
          const placed = await as(bob.token)('post', `${url}/orders`, { currency: 'GBP', items });
          const { id } = placed.json(schemas.order);
          const read = await as(bob.token)('get', `${url}/orders/${id}`);
          expect(read.json(schemas.order).items[0]?.name).toBe(name);
          const listed = await as(tokens.operator)('get', `${url}/orders?userId=${encodeURIComponent(name)}`);
          expect([200, 422]).toContain(listed.status);
          const cancelled = await as(bob.token)('post', `${url}/orders/${id}/cancel`, { reason: `x${name}` });
          expect(cancelled.json(schemas.order).cancelReason).toBe(`x${name}`);
        }
        for (const process of on.system.processes('order')) {
          const lines = (await process.output()).trimEnd().split('\n');
          for (const line of lines) expect(JSON.parse(line)).not.toMatchObject({ msg: 'forged' });
        }
      });

      onShape('leaves no token in the log', async () => {
        const url = on.system.url('order');
        await as(`${bob.token}x`)('get', `${url}/orders`);
        await as(undefined)('get', `${url}/orders?token=${bob.token}`);
        for (const process of on.system.processes('order')) {
          const output = await process.output();
          for (const token of [bob.token, tokens.operator, AUTH_SECRET]) expect(output).not.toContain(token);
        }
      });
    });

    describe('the session of a browser', () => {
      const browser = { accept: 'text/html' };
      const form = 'application/x-www-form-urlencoded';
      const signIn = async (url: string, token: string, returnTo = '/orders') =>
        call(`${url}/session`, {
          method: 'POST',
          headers: { ...browser, 'content-type': form, 'sec-fetch-site': 'same-origin' },
          body: new URLSearchParams({ token, returnTo }).toString(),
        });
      const cookieOf = ({ headers }: Answer) => String(headers['set-cookie']).split(';')[0] ?? '';

      onShape('begins with the page that a browser gets instead of a 401', async () => {
        const url = on.system.url('flash-sale');
        const path = `/flash-sales/${bob.saleId}`;
        const page = await call(url + path, { headers: browser });
        expect(page.status).toBe(401);
        expect(page.text).toContain(`<input type="hidden" name="returnTo" value="${path}">`);
        expect(page.headers['content-security-policy']).toContain("form-action 'self'");

        const signedIn = await signIn(url, bob.token, path);
        expect(signedIn.status).toBe(303);
        expect(signedIn.headers.location).toBe(path);
        const cookie = String(signedIn.headers['set-cookie']);
        expect(cookie).toMatch(/^sluice-session=[\w.-]+; Max-Age=\d+; Path=\/; HttpOnly; SameSite=Strict$/);
        expect(Number(/Max-Age=(\d+)/.exec(cookie)?.[1])).toBeLessThanOrEqual(3_600);

        const shown = await call(url + path, { headers: { ...browser, cookie: cookieOf(signedIn) } });
        expect(shown.status).toBe(200);
        expect(shown.text).toContain('You buy as <bdi>bob</bdi>');
      });

      onShape('counts for reading, and for changes only from pages of this server', async () => {
        const url = on.system.url('order');
        const cookie = cookieOf(await signIn(url, bob.token));
        const read = await call(`${url}/orders/${bob.orderId}`, { headers: { cookie } });
        expect(read.json(schemas.order).userId).toBe('bob');
        const place = (headers: Record<string, string>) =>
          call(`${url}/orders`, {
            method: 'POST',
            headers: { cookie, 'content-type': 'application/json', ...headers },
            body: JSON.stringify({ currency: 'GBP', items: mugs }),
          });
        expect((await place({})).status).toBe(401);
        for (const headers of [
          { 'sec-fetch-site': 'cross-site' },
          { 'sec-fetch-site': 'same-site' },
          { origin: 'https://evil.example' },
          { origin: 'null' },
        ] as Record<string, string>[])
          expect([401, 403]).toContain((await place(headers)).status);
        expect((await place({ 'sec-fetch-site': 'same-origin', origin: url })).status).toBe(201);
        expect((await place({ origin: url })).status).toBe(201);
      });

      onShape('is not begun with a token that is not valid, and not with one from elsewhere', async () => {
        const url = on.system.url('order');
        for (const token of [tokens.expired, 'x.y.z', `${bob.token}x`]) {
          const answer = await signIn(url, token);
          expect(answer.status).toBe(401);
          expect(answer.headers['set-cookie']).toBeUndefined();
        }
        for (const returnTo of ['https://evil.example', '//evil.example', '/\\evil.example', '/\r\nX: y'])
          expect((await signIn(url, bob.token, returnTo)).status).toBe(422);
        const own = cookieOf(await signIn(url, bob.token));
        const two = { headers: { cookie: `sluice-session=${alice.token}; ${own}` } };
        expect((await call(`${url}/session`, two)).status, 'two cookies').toBe(401);
        const basic = { headers: { authorization: `Basic ${Buffer.from(`token:${bob.token}`).toString('base64')}` } };
        expect((await call(`${url}/session`, basic)).status, 'as a password').toBe(401);
        // A cookie that an attacker has planted is its own user at most: there is no id to fix.
        const planted = await call(`${url}/session`, { headers: { cookie: 'sluice-session=fixed' } });
        expect(planted.status).toBe(401);
      });

      onShape('ends', async () => {
        const url = on.system.url('order');
        const cookie = cookieOf(await signIn(url, bob.token));
        const ended = await call(`${url}/session`, { method: 'DELETE', headers: { cookie } });
        expect(ended.json(schemas.session)).toEqual({ userId: null, roles: [], expiresAt: null });
        expect(String(ended.headers['set-cookie'])).toMatch(/^sluice-session=; Max-Age=0; /);
      });
    });
  },
);

/** All that a server sends for these bytes, until it has ended the connection or been silent for a second. */
function exchange(url: string, bytes: string): Promise<string> {
  const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1' });
  let received = '';
  return new Promise((resolve) => {
    socket.on('data', (chunk) => (received += chunk.toString('latin1')));
    socket.on('error', () => undefined); // the server may reset the connection
    socket.on('close', () => resolve(received));
    socket.setTimeout(1_000, () => socket.destroy());
    socket.write(bytes);
  });
}

async function newSale(system: System, token: string): Promise<string> {
  const { example } = routesOf().createFlashSale?.body ?? {};
  const answer = await as(token)('post', `${system.url('flash-sale')}/flash-sales`, example);
  return answer.json(schemas.flashSale).id;
}

/** A user with a completed order and a ticket. */
async function storyOf(system: System, saleId: string, user: string) {
  const token = await tokenFor(user);
  const placed = await as(token)('post', `${system.url('order')}/orders`, { currency: 'GBP', items: mugs });
  const orderId = placed.json(schemas.order).id;
  const bought = await as(token)('post', `${system.url('flash-sale')}/flash-sales/${saleId}/purchases`, {});
  const { ticketId } = bought.json(schemas.purchase);
  const read = () => as(token)('get', `${system.url('order')}/orders/${orderId}`);
  const isCompleted = async () => (await read()).json(schemas.order).status === 'completed';
  await eventually(isCompleted, { what: `the order of ${user} to be completed`, timeoutMs: 30_000 });
  return { user, token, orderId, ticketId, saleId };
}

test('the table has routes of each kind', () => {
  const kinds = new Set(routes.map(([, { access, userIn }]) => `${access} ${userIn ?? ''}`));
  expect([...kinds].sort()).toEqual(
    [
      'buyer ',
      'buyer body',
      'buyer params',
      'buyer query',
      'buyer resource',
      'operator ',
      'public ',
      'service ',
    ].sort(),
  );
});
