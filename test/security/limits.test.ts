// The limits on the orders of a user and on invalid tokens from an address: what they reject, what they leave alone, and
// what an attacker may try against them.
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import mqtt, { type Packet } from 'mqtt';
import { v7 as uuidv7 } from 'uuid';
import { describe, expect, inject, test } from 'vitest';
import { type Limits, openLimits } from '../../app/access/limits.ts';
import { serveSession } from '../../app/access/session.ts';
import { networkOf } from '../../infra/access/client-address.ts';
import { MAX_KEYS } from '../../infra/access/rate-limit.ts';
import { RateLimited } from '../../infra/access/rejections.ts';
import { createApp } from '../../infra/http/app.ts';
import { addressList, ReverseProxy } from '../../infra/http/reverse-proxy.ts';
import { listen as listenAt } from '../../infra/http/server.ts';
import { EmbeddedBroker, MAX_UNAUTHENTICATED } from '../../infra/mqtt/embedded/broker.ts';
import { Metrics } from '../../infra/observability/metrics.ts';
import { front } from '../../services/order/front.ts';
import type { PlaceOrder } from '../../services/order/place-order.ts';
import { placeAndReadRoutes } from '../../services/order/routes.ts';
import { startRedis } from '../servers/redis.ts';
import { log } from '../setup/bus-fixtures.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { listen } from '../setup/listen.ts';
import { forgedToken, tokenAccess, tokenOf } from '../setup/tokens.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const FORGED = await forgedToken();

interface Given {
  readonly orders?: number;
  readonly failures?: number;
  readonly redisUrl?: string;
  readonly prefix?: string;
}

async function open({
  orders = 0,
  failures = 0,
  redisUrl,
  prefix = freshPrefix(),
}: Given): Promise<Limits & { metrics: Metrics }> {
  const metrics = new Metrics();
  const shutdown = { add: (step: () => unknown) => void cleanUps.push(step) };
  const settings = {
    USER_ORDERS_PER_MINUTE: orders,
    AUTH_FAILURES_PER_MINUTE: failures,
    REDIS_URL: redisUrl,
    BUS_PREFIX: prefix,
  };
  return { ...(await openLimits(settings, { metrics, log, shutdown })), metrics };
}

const placeOrder: PlaceOrder = async ({ userId, currency, items }) => {
  const steps = { points: { status: 'pending' }, coupon: { status: 'pending' }, notification: { status: 'pending' } };
  const createdAt = new Date().toISOString();
  const order = { id: uuidv7(), userId, status: 'placed', currency, total: 1, items, createdAt, steps } as const;
  return { outcome: 'placed', order: order as never };
};

const ORDER = JSON.stringify({ currency: 'GBP', items: [{ sku: 'MUG', quantity: 1, unitPrice: 1 }] });

/** Serves orders and sessions. `trusted`: the proxies; requests come from 127.0.0.1. */
async function serve(given: Given, trusted?: string) {
  const { metrics, ...limits } = await open(given);
  const { verifier, authentication } = tokenAccess(limits);
  const routes = createApp(
    log,
    (api) => {
      placeAndReadRoutes(api, {} as never, placeOrder);
      serveSession(api, verifier);
    },
    authentication,
  );
  const listener = front({ placeOrder, log })(routes, authentication);
  const proxy = new ReverseProxy({ basePath: '', trusted: trusted === undefined ? undefined : addressList(trusted) });
  const { server, url } = await listenAt(proxy.before(listener), '127.0.0.1', 0);
  cleanUps.push(() => server.close().closeAllConnections());
  const post = (path: string, token: string | undefined, headers: Record<string, string>, body: string) =>
    fetch(`${url}${path}`, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        ...(token !== undefined && { Authorization: `Bearer ${token}` }),
        ...headers,
      },
      body,
    });
  const place = (token?: string, headers: Record<string, string> = {}) => post('/orders', token, headers, ORDER);
  return {
    url,
    place,
    /** The same without the listener in front of Express. */
    placeByRoute: (token: string) => post('/orders?x', token, {}, ORDER),
    signIn: (token: string) => post('/session', undefined, {}, JSON.stringify({ token })),
    /** The statuses of several requests, one after the other. */
    statuses: async (count: number, request: () => Promise<Response>) => {
      const statuses: number[] = [];
      for (let sent = 0; sent < count; sent++) statuses.push((await request()).status);
      return statuses;
    },
    rejections: async () =>
      Object.fromEntries((await metrics.rateLimited.get()).values.map(({ labels, value }) => [labels.limit, value])),
  };
}

describe('orders of a user', () => {
  test('beyond the limit get 429 from the listener in front of Express and from the route, with the same headers', async () => {
    const { place, placeByRoute, statuses, rejections } = await serve({ orders: 4 });
    const token = await tokenOf('ada');
    expect(await statuses(2, () => place(token))).toEqual([201, 201]);
    expect(await statuses(3, () => placeByRoute(token))).toEqual([201, 201, 429]);
    for (const send of [place, placeByRoute]) {
      const response = await send(token);
      const { headers } = response;
      expect(await response.json()).toMatchObject({ type: '/problems/rate-limited', status: 429 });
      const retryAfter = Number(headers.get('Retry-After'));
      expect(retryAfter).toBeGreaterThan(50);
      expect(retryAfter).toBeLessThanOrEqual(60);
      expect(headers.get('RateLimit-Policy')).toBe('"user";q=4;w=60');
      expect(headers.get('RateLimit')).toBe(`"user";r=0;t=${retryAfter}`);
    }
    expect(await rejections()).toEqual({ user: 3 });
  });

  test('do not count for another user, nor does a request that is rejected anyway', async () => {
    const { place, statuses } = await serve({ orders: 2 });
    const [ada, bob] = [await tokenOf('ada'), await tokenOf('bob')];
    expect((await place(ada, { 'Idempotency-Key': 'x'.repeat(300) })).status).toBe(422);
    expect(await statuses(3, () => place(ada))).toEqual([201, 201, 429]);
    expect(await statuses(2, () => place(bob))).toEqual([201, 201]);
  });

  test.each([['operator'], ['service']] as const)('of the role %s are not limited', async (role) => {
    const { place, statuses } = await serve({ orders: 1 });
    const token = await tokenOf('ada', [role]);
    expect(await statuses(3, () => place(token))).toEqual([201, 201, 201]);
  });

  test('are not limited by 0', async () => {
    const { place, statuses } = await serve({ orders: 0 });
    const token = await tokenOf('ada');
    expect(new Set(await statuses(30, () => place(token)))).toEqual(new Set([201]));
  });
});

/** An embedded broker whose clients over WebSocket come from another address than those over TCP. */
async function startBroker(limits: Limits = { orders: undefined, failures: undefined }) {
  const { verifier } = tokenAccess(limits);
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-limits-'));
  cleanUps.push(() => rm(dataDir, { recursive: true }));
  const broker = await EmbeddedBroker.start({ dataDir, host: '127.0.0.1', port: 0, prefix: 'p', log, verifier });
  cleanUps.push(() => broker.close());
  const server = createServer();
  broker.acceptWebSockets(server, () => '192.0.2.1');
  const port = await listen(server);
  cleanUps.push(() => server.close());
  const tcpPort = broker.port;
  return { tcpPort, tcpUrl: `mqtt://127.0.0.1:${tcpPort}`, webSocketUrl: `ws://127.0.0.1:${port}/mqtt` };
}

describe('invalid tokens from an address', () => {
  test('beyond the limit are not verified, on any path, while verified users at that address go on', async () => {
    const { place, signIn, statuses, rejections, url } = await serve({ failures: 3 });
    const ada = await tokenOf('ada');
    expect((await place(ada)).status).toBe(201);
    expect(await statuses(2, () => place(FORGED))).toEqual([401, 401]);
    expect(await statuses(2, () => signIn(FORGED))).toEqual([401, 429]);
    const rejected = await place(FORGED);
    expect(rejected.status).toBe(429);
    expect(rejected.headers.get('RateLimit-Policy')).toBe('"address";q=3;w=60');
    expect((await place(await tokenOf('newcomer'))).status).toBe(429);
    expect(await statuses(2, () => place(ada))).toEqual([201, 201]);
    expect((await signIn(ada)).status).toBe(200);
    // A public route does not depend on the token.
    const headers = { Authorization: `Bearer ${FORGED}` };
    expect((await fetch(`${url}/session`, { method: 'DELETE', headers })).status).toBe(200);
    expect(await rejections()).toEqual({ address: 4 });
  });

  test('do not include missing and expired tokens', async () => {
    const { place, statuses } = await serve({ failures: 1 });
    const expired = await tokenOf('ada', [], -60);
    expect(await statuses(2, () => place())).toEqual([401, 401]);
    expect(await statuses(2, () => place(expired))).toEqual([401, 401]);
    expect(await statuses(2, () => place(FORGED))).toEqual([401, 429]);
  });

  test('that come all at once are answered 401 no more often than the limit allows', async () => {
    const { place } = await serve({ failures: 3 });
    const statuses = await Promise.all(Array.from({ length: 40 }, async () => (await place(FORGED)).status));
    expect(statuses.filter((status) => status === 401)).toHaveLength(3);
    expect(statuses.filter((status) => status === 429)).toHaveLength(37);
  });

  test('count together for an IPv6 network of 64 bits, behind a trusted proxy', async () => {
    const { place } = await serve({ failures: 2 }, '127.0.0.1');
    const from = async (address: string) => (await place(FORGED, { 'X-Forwarded-For': address })).status;
    expect([await from('2001:db8:0:1::1'), await from('2001:DB8::1:a:b:c:d'), await from('2001:db8:0:1::2')]).toEqual([
      401, 401, 429,
    ]);
    expect([await from('2001:db8:0:2::1'), await from('192.0.2.1'), await from('::ffff:192.0.2.1')]).toEqual([
      401, 401, 401,
    ]);
    expect(await from('192.0.2.1:50123')).toBe(429);
  });

  test('count for the connection if X-Forwarded-For comes from no trusted proxy', async () => {
    const { place, statuses } = await serve({ failures: 2 });
    let sent = 0;
    const forging = () => place(FORGED, { 'X-Forwarded-For': `192.0.2.${sent++}` });
    expect(await statuses(3, forging)).toEqual([401, 401, 429]);
  });

  test('count for the last address that is not a proxy, not for one that the client puts before it', async () => {
    const { place, statuses } = await serve({ failures: 2 }, '127.0.0.1,10.0.0.0/8');
    let sent = 0;
    const forging = () => place(FORGED, { 'X-Forwarded-For': `192.0.2.${sent++}, unknown, 198.51.100.7, 10.1.2.3` });
    expect(await statuses(3, forging)).toEqual([401, 401, 429]);
    expect((await place(FORGED, { 'X-Forwarded-For': '198.51.100.8, 10.1.2.3' })).status).toBe(401);
  });

  test('count on MQTT, too, where a rejected connection is told to try again later', async () => {
    const { tcpUrl, webSocketUrl } = await startBroker(await open({ failures: 2 }));

    /** The code of CONNACK, after which a rejected connection must end. */
    const connect = async (url: string, password: string) => {
      const client = mqtt.connect(url, { username: 'ada', password, reconnectPeriod: 0 });
      cleanUps.push(() => client.endAsync(true));
      client.on('error', () => undefined);
      const closed = once(client.stream, 'close');
      const connack = await new Promise<Packet>((resolve) => client.once('packetreceive', resolve));
      const code = connack.cmd === 'connack' ? connack.returnCode : undefined;
      if (code !== 0) await closed;
      return code;
    };
    const overTcp = (token: string) => connect(tcpUrl, token);
    const known = await tokenOf('ada');
    expect(await overTcp(known)).toBe(0);
    expect([await overTcp(FORGED), await overTcp(FORGED), await overTcp(FORGED)]).toEqual([4, 4, 3]);
    expect(await overTcp(await tokenOf('ada', [], 700))).toBe(3);
    expect(await overTcp(known)).toBe(0);
    expect(await connect(webSocketUrl, FORGED), 'another address').toBe(4);
  });

  test('silent MQTT connections from one address leave places for others', async () => {
    const { tcpPort, webSocketUrl } = await startBroker();

    let closed = 0;
    for (let number = 0; number < MAX_UNAUTHENTICATED + 10; number++) {
      const socket = connectTcp({ port: tcpPort, host: '127.0.0.1' }).on('close', () => closed++);
      cleanUps.push(() => socket.destroy());
    }
    await eventually(() => closed === 10, { what: 'the connections beyond the limit are closed' });
    const login = { username: 'ada', password: await tokenOf('ada'), reconnectPeriod: 0 };
    const other = await mqtt.connectAsync(webSocketUrl, login);
    cleanUps.push(() => other.endAsync(true));
    expect(other.connected).toBe(true);
  });

  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:DB8:0:0:1::', '2001:db8:0:0::/64'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['unknown', 'unknown'],
  ])('from %s count for %s', (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});

const isLimited = (counted: Promise<void> | undefined) =>
  counted?.then(
    () => false,
    (error) => error instanceof RateLimited || Promise.reject(error),
  );

test('a client with very many addresses takes a bounded amount of memory', async () => {
  const { failures } = await open({ failures: 1 });
  const count = (address: number) => isLimited(failures?.count(String(address)));
  await count(-1);
  expect(await count(-1)).toBe(true);
  for (let address = 0; address < MAX_KEYS; address++) await count(address);
  expect(await count(MAX_KEYS - 1), 'the latest are remembered').toBe(true);
  expect(await count(-1), 'the earliest is forgotten').toBe(false);
});

describe.skipIf(!inject('servers').redisUrl)('with Redis', () => {
  /** Whether two processes count together. */
  const shares = async (one: Limits, other: Limits) => {
    const user = randomUUID();
    await one.orders?.count(user);
    return isLimited(other.orders?.count(user));
  };

  test('processes count together, apart from systems with another prefix, and leave no key forever', async () => {
    const redisUrl = String(inject('servers').redisUrl);
    const prefix = freshPrefix();
    const [one, other] = [await open({ orders: 1, redisUrl, prefix }), await open({ orders: 1, redisUrl, prefix })];
    await eventually(() => shares(one, other), { what: 'both are connected' });
    const apart = await open({ orders: 1, redisUrl });
    for (let tries = 0; tries < 20; tries++) expect(await shares(one, apart)).toBe(false);
    const redis = new Redis(redisUrl);
    cleanUps.push(() => redis.disconnect());
    const stored = await redis.keys(`${prefix}:*`);
    expect(stored.length).toBeGreaterThan(0);
    for (const key of stored) expect(await redis.pttl(key)).toBeGreaterThan(0);
  });

  test('requests are answered while Redis is frozen, and counted together once it responds again', async () => {
    const redis = await startRedis();
    cleanUps.push(() => redis.stop());
    const given = { orders: 1, redisUrl: redis.redisUrl, prefix: freshPrefix() };
    const [one, other] = [await open(given), await open(given)];
    await eventually(() => shares(one, other), { what: 'both are connected' });

    const pid = Number(redis.pid);
    process.kill(pid, 'SIGSTOP');
    try {
      const from = performance.now();
      const users = Array.from({ length: 200 }, () => randomUUID());
      await Promise.all(users.map(async (user) => one.orders?.count(user)));
      expect(performance.now() - from, 'those that wait when it freezes, together').toBeLessThan(10_000);
      const then = performance.now();
      for (const user of users) expect(await isLimited(one.orders?.count(user)), 'this process counts').toBe(true);
      await one.orders?.count(randomUUID());
      expect(performance.now() - then, 'the others, which would wait 50 s').toBeLessThan(10_000);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await eventually(() => shares(one, other), { what: 'they count together' });
  });

  test('requests are answered while Redis is gone, and counted together after its restart', async () => {
    const redis = await startRedis();
    cleanUps.push(() => redis.stop());
    const given = { orders: 1, redisUrl: redis.redisUrl, prefix: freshPrefix() };
    const [one, other] = [await open(given), await open(given)];
    await eventually(() => shares(one, other), { what: 'both are connected' });
    await redis.kill();
    const user = randomUUID();
    expect([await isLimited(one.orders?.count(user)), await isLimited(one.orders?.count(user))]).toEqual([false, true]);
    await redis.restart();
    await eventually(() => shares(one, other), { what: 'they count together' });
  });
});
