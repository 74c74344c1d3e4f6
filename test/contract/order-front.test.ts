// The listener in front of Express that places orders, and the route behind it: the same request gets the same response
// from both, and places at most one order.
import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { order } from '../../contracts/orders.ts';
import { DatabaseUnavailable, Overloaded } from '../../infra/database/port.ts';
import type { AnyService } from '../../infra/runtime/service.ts';
import { front } from '../../services/order/front.ts';
import { orderService } from '../../services/order/index.ts';
import type { PaymentProvider } from '../../services/order/payments/port.ts';
import type { PlaceOrder } from '../../services/order/place-order.ts';
import { placeAndReadRoutes } from '../../services/order/routes.ts';
import { type Databases, log, pgliteInFolder } from '../setup/bus-fixtures.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { type Asked, JSON_TYPE, type Pieces, requestOf, send, serveBoth } from '../setup/front.ts';
import { openAlone } from '../setup/service-alone.ts';
import { limitOf, tokenAccess, tokenOf } from '../setup/tokens.ts';

let servers: Awaited<ReturnType<typeof serveBoth>>;
let service: AnyService;
let databases: Databases;

beforeAll(async () => {
  databases = await pgliteInFolder();
  const alone = await openAlone(databases.database, 'order', (context) =>
    orderService({ ...context, payments: {} as PaymentProvider }),
  );
  service = alone.service;
  servers = await serveBoth(service);
});
afterAll(async () => {
  servers?.close();
  await databases?.close();
});

const mug = { sku: 'MUG', quantity: 2, unitPrice: 450 };
const request = { userId: 'u-1', currency: 'GBP', items: [mug] };
const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const asked = (body: unknown, headers: Asked['headers'] = {}): Asked => ({
  path: '/orders',
  headers: { ...JSON_TYPE, ...headers },
  body: json(body),
});
const orders = async () => {
  const [row] = await databases.database.query<{ count: number }>('SELECT count(*) AS count FROM sluice_order.orders');
  return row?.count ?? 0;
};

test('orders in their usual form do not reach Express', async () => {
  const [before, ordersBefore] = [servers.passed(), await orders()];
  const place = (body: unknown, headers?: Asked['headers']) => send(servers.front, requestOf(asked(body, headers)));
  const placed = await place(request);
  expect(placed.status).toBe(201);
  const { id } = order.parse(JSON.parse(placed.body));
  expect(placed.headers).toMatchObject({
    location: `/base/orders/${id}`,
    'content-type': 'application/json; charset=utf-8',
  });

  const key = { 'Idempotency-Key': uuidv7() };
  const first = await place(request, key);
  const again = await place(request, key);
  const other = await place({ ...request, items: [mug, mug] }, key);
  expect([first.status, again.status, other.status]).toEqual([201, 200, 422]);
  expect(again.headers['idempotency-replayed']).toBe('true');
  expect(JSON.parse(again.body)).toEqual(JSON.parse(first.body));
  expect(JSON.parse(other.body)).toMatchObject({ type: '/problems/idempotency-key-reused' });
  expect(servers.passed() - before).toBe(0);
  expect((await orders()) - ordersBefore).toBe(2);
});

const oneOf = <T>(...values: T[]) => fc.constantFrom(...values);
const bodies: Buffer[] = [
  ...[
    request,
    request,
    { ...request, currency: 'JPY', items: [{ ...mug, name: 'Becher ä 茶' }] },
    { ...request, items: Array.from({ length: 300 }, () => mug) }, // more than the listener reads
    { ...request, items: [] },
    { ...request, items: [{ ...mug, quantity: 0 }] },
    { ...request, userId: '' },
    { ...request, currency: 'gbp' },
    { ...request, note: 1, items: [{ ...mug, note: 1 }] },
    { ...request, items: [{ ...mug, qty: 1 }] },
    { ...request, user_id: 'u-1' },
    { ...request, items: [{ ...mug, quantity: 1_000_000, unitPrice: 1_000_000_000, sku: '\u0000' }] },
    { userId: 'u-1' },
    null,
    [request],
    'text',
  ].map(json),
  ...[
    '{"__proto__":{"userId":"u-1"},"currency":"GBP","items":[]}',
    `{"userId":"other",${JSON.stringify(request).slice(1)}`, // the last of two equal names counts
    `\uFEFF${JSON.stringify(request)}`,
    ` ${JSON.stringify(request)}\n`,
    JSON.stringify(request).slice(0, -1),
    '',
  ].map((text) => Buffer.from(text)),
  Buffer.concat([Buffer.from('{"userId":"'), Buffer.from([0xff]), Buffer.from('"}')]),
];

const arbitrary: fc.Arbitrary<Asked> = fc.record({
  method: fc.oneof({ weight: 8, arbitrary: oneOf('POST') }, oneOf('PUT', 'DELETE')),
  path: fc.oneof(
    { weight: 6, arbitrary: oneOf('/orders') },
    oneOf('/orders/', '/orders?x=1', '/ORDERS', '/orders/x', '/base/orders', '/base'),
  ),
  headers: fc.record({
    'Content-Type': oneOf(
      'application/json',
      'application/json',
      'application/json; charset=utf-8',
      'Application/JSON',
      'application/json; charset=latin1',
      'application/x-www-form-urlencoded',
      'text/plain',
      undefined,
    ),
    'X-Forwarded-Prefix': oneOf(undefined, '/', '/shop', '/shop/eu/', '//evil', '/a, /b'),
    'Content-Encoding': fc.oneof({ weight: 8, arbitrary: oneOf(undefined) }, oneOf('identity', 'gzip', 'x')),
    'Idempotency-Key': oneOf(undefined, undefined, 'new', 'x'.repeat(256), 'ä', '', ' '),
  }),
  body: oneOf(...bodies),
  pieces: oneOf<Pieces>('together', 'together', 'body later', 'half of the body later'),
});

/** A key of its own for each request, so that no response is a replay. */
const withNewKey = ({ headers = {}, ...rest }: Asked): Asked =>
  headers['Idempotency-Key'] === 'new'
    ? { ...rest, headers: { ...headers, 'Idempotency-Key': uuidv7() } }
    : { ...rest, headers };

const mask = (text: string) =>
  text
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'an id')
    .replace(/"createdAt":"[^"]+"/, '"createdAt":"now"');

test('any request gets the same response with the front and without it', async () => {
  const before = await orders();
  let placed = 0;
  await fc.assert(
    fc.asyncProperty(arbitrary, async (any) => {
      const [first, second] = [
        await send(servers.front, requestOf(withNewKey(any)), mask),
        await send(servers.routes, requestOf(withNewKey(any)), mask),
      ];
      expect(first).toEqual(second);
      expect(first.status).toBeLessThan(500);
      if (first.status === 201) placed += 2;
    }),
    { numRuns: 400 },
  );
  expect(placed).toBeGreaterThan(0);
  expect((await orders()) - before).toBe(placed);
});

test.for([new DatabaseUnavailable('gone'), new Overloaded(5_000), new Error('unexpected')])(
  'a request that fails with %s gets the same response with the front and without it',
  async (error) => {
    const placeOrder: PlaceOrder = () => Promise.reject(error);
    const failing = await serveBoth({
      routes: (api) => placeAndReadRoutes(api, databases.database, placeOrder),
      front: front({ placeOrder, log }),
    });
    cleanUps.push(failing.close);
    const sent = requestOf(asked(request));
    const response = await send(failing.front, sent);
    expect(failing.passed()).toBe(0);
    expect(response).toEqual(await send(failing.routes, sent));
    expect(response.status).toBeGreaterThanOrEqual(500);
  },
);

test('an order beyond the limit of its user gets the same response with the front and without it', async () => {
  const { authentication } = tokenAccess({ orders: limitOf('user', 1) });
  const limited = await serveBoth(service, authentication);
  cleanUps.push(limited.close);
  const before = await orders();
  const Authorization = `Bearer ${await tokenOf('u-1')}`;
  await send(limited.routes, requestOf({ method: 'GET', path: '/orders/x', headers: { Authorization } })); // verifies it
  const sent = requestOf(asked(request, { Authorization }));
  expect((await send(limited.front, sent)).status).toBe(201);
  const response = await send(limited.front, sent, maskSeconds);
  expect(response.headers).toMatchObject({ 'ratelimit-policy': '"user";q=1;w=60', ratelimit: '"user";r=0;t=some' });
  expect(response.status).toBe(429);
  expect(limited.passed()).toBe(0);
  expect(response).toEqual(await send(limited.routes, sent, maskSeconds));
  expect((await orders()) - before).toBe(1);
});

/** The rest of the minute, and the length of the body that names it. */
const maskSeconds = (text: string) => text.replace(/(retry-after: |t=|again in |content-length: )\d+/gi, '$1some');
