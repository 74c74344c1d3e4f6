// The listener in front of Express and the routes behind it: the same request gets the same response from both, and the
// requests of a flood do not reach Express.
import { connect } from 'node:net';
import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { PacedQueues } from '../../infra/queue/port.ts';
import type { AnyService } from '../../infra/runtime/service.ts';
import { flashSaleService } from '../../services/flash-sale/index.ts';
import { admit, insertSale } from '../../services/flash-sale/store/sales.ts';
import { type Databases, pgliteInFolder } from '../setup/bus-fixtures.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { type Asked, JSON_TYPE, type Pieces, requestOf, send, serveBoth, serverHasRead } from '../setup/front.ts';
import { openAlone } from '../setup/service-alone.ts';
import { limitOf, tokenAccess, tokenOf } from '../setup/tokens.ts';
import { eventually } from '../setup/wait.ts';

let servers: Awaited<ReturnType<typeof serveBoth>>;
let service: AnyService;
let databases: Databases;

const holder = 'holder@example.org';
const ticket = uuidv7();
const sales = { full: uuidv7(), soldOut: uuidv7(), scheduled: uuidv7() };
/** With one ticket, of `holder`, and 20 places. */
const roomy = uuidv7();

beforeAll(async () => {
  databases = await pgliteInFolder();
  const { database } = databases;
  const alone = await openAlone(database, 'flash-sale', (context) =>
    flashSaleService({ ...context, queues: {} as PacedQueues }),
  );
  service = alone.service;
  servers = await serveBoth(service);
  const sale = { sku: 'MUG', name: 'Mug', unitPrice: 100, currency: 'GBP', drainPerSecond: 1, holdSeconds: 0 };
  await insertSale(database, sales.full, { ...sale, stock: 1_000, queueCap: 3 });
  await insertSale(database, sales.soldOut, { ...sale, stock: 2, queueCap: 10 });
  const opensAt = '2099-01-01T00:00:00Z';
  await insertSale(database, sales.scheduled, { ...sale, stock: 10, queueCap: 10, opensAt });
  // Nothing drains these queues, so a sale's response to a user stays the same. The names are fixed, because a snapshot
  // takes one in 16 others for a holder of the small sale.
  const others = ['other-1', 'other-2'].map((userId) => ({ ticketId: uuidv7(), userId }));
  await admit(database, sales.full, [{ ticketId: ticket, userId: holder }, ...others]);
  await admit(
    database,
    sales.soldOut,
    others.map(({ userId }) => ({ ticketId: uuidv7(), userId })),
  );
  await insertSale(database, roomy, { ...sale, stock: 1_000, queueCap: 21 });
  await admit(database, roomy, [{ ticketId: uuidv7(), userId: holder }]);
});
afterAll(async () => {
  servers?.close();
  await databases?.close();
});

const FORM_TYPE = { 'Content-Type': 'application/x-www-form-urlencoded' };
const BROWSER = { Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };
const purchase = (saleId: string) => `/flash-sales/${saleId}/purchases`;
const json = (userId: string) => Buffer.from(JSON.stringify({ userId }));
const form = (userId: string) => Buffer.from(new URLSearchParams({ userId }).toString());

/** Until the snapshot is there, and again after an idle time, the row decides. */
const inFront = (asked: Asked, status: number) =>
  eventually(
    async () => {
      const before = servers.passed();
      const response = await send(servers.front, requestOf(asked));
      expect(response.status).toBe(status);
      return servers.passed() === before;
    },
    { what: 'a response in front of Express' },
  );

describe('the requests of a flood do not reach Express', () => {
  const flood: [string, Asked, number][] = [
    ['a purchase in JSON, queue full', { path: purchase(sales.full), headers: JSON_TYPE, body: json('a') }, 429],
    ['a purchase in JSON, sold out', { path: purchase(sales.soldOut), headers: JSON_TYPE, body: json('a') }, 409],
    ['a purchase in JSON, not open', { path: purchase(sales.scheduled), headers: JSON_TYPE, body: json('a') }, 409],
    ['a form of a program', { path: purchase(sales.full), headers: FORM_TYPE, body: form('a:@-_.b') }, 429],
    [
      'a form of a browser',
      { path: purchase(sales.full), headers: { ...FORM_TYPE, ...BROWSER }, body: form('a') },
      303,
    ],
    ['a poll of a ticket', { method: 'GET', path: `${purchase(sales.full)}/${ticket}` }, 200],
    ['a poll of no ticket', { method: 'GET', path: `${purchase(sales.full)}/${uuidv7()}` }, 404],
  ];
  test.for(flood)('%s', async ([, asked, status]) => void (await inFront(asked, status)));
});

test('the request of a buyer who may hold a ticket reaches Express', async () => {
  const before = servers.passed();
  const asked = requestOf({ path: purchase(sales.full), headers: JSON_TYPE, body: json(holder) });
  const response = await send(servers.front, asked);
  expect([response.status, servers.passed() - before]).toEqual([200, 1]);
  expect(JSON.parse(response.body)).toMatchObject({ ticketId: ticket, position: 1 });
});

test('the snapshot lets as many newcomers through as there are places', async () => {
  const buy = async (userId: string) =>
    (await send(servers.front, requestOf({ path: purchase(roomy), headers: JSON_TYPE, body: json(userId) }))).status;
  // The second one has the snapshot read, before its own decision.
  for (let turn = 0; turn < 2; turn++) expect(await buy(holder)).toBe(200);
  const before = servers.passed();
  const statuses = await Promise.all(Array.from({ length: 60 }, (_, index) => buy(`newcomer-${index}`)));
  expect(statuses.filter((status) => status === 202)).toHaveLength(20);
  expect(statuses.filter((status) => status === 429)).toHaveLength(40);
  expect(servers.passed() - before, 'the snapshot rejected some').toBeLessThan(60);
});

test('a body that arrives in pieces counts as a whole', async () => {
  await inFront({ path: purchase(sales.full), headers: JSON_TYPE, body: json('a') }, 429);
  for (const [user, status] of [
    [holder, 200], // half of its name is another buyer's
    ['x'.repeat(65), 422], // half of it is a valid name
  ] as const) {
    const asked = {
      path: purchase(sales.full),
      headers: FORM_TYPE,
      body: form(user),
      pieces: 'half of the body later',
    } as const;
    expect((await send(servers.front, requestOf(asked))).status).toBe(status);
  }
});

const oneOf = <T>(...values: T[]) => fc.constantFrom(...values);
const ids = [...Object.values(sales), sales.full.toUpperCase(), uuidv7(), 'x', `${sales.full}0`];
const bodies: Buffer[] = [
  ...['a', holder, 'x'.repeat(64), 'x'.repeat(65), '', 'a b', 'ä', '\u0000', '"', '%41', '__proto__'].flatMap(
    (user) => [json(user), form(user)],
  ),
  ...[
    '{"userId":"a","userId":"b"}',
    '{"userId":"a","note":1}',
    '{"userId":["a"]}',
    '{"__proto__":{"userId":"a"}}',
    '\uFEFF{"userId":"a"}',
    ' {"userId":"a"} ',
    '{"userId":"a"',
    'null',
    '[]',
    '1',
    '',
    'userId=a&userId=b',
    'userId[]=a',
    'userId=a&note=1',
    'note=1&userId=a',
    'userId=%',
    'userId=%E4',
    'userId=a%00',
    'userId=a+b',
    'USERID=a',
    'userId',
    `userId=${'x'.repeat(300)}`,
    `{"userId":"a","note":"${'x'.repeat(5_000)}"}`,
    `{"userId":"a"}${' '.repeat(300)}`,
  ].map((text) => Buffer.from(text)),
  Buffer.from([0x7b, 0xff, 0x7d]),
];

const arbitrary: fc.Arbitrary<Asked> = fc.record({
  method: fc.oneof({ weight: 6, arbitrary: oneOf('POST') }, oneOf('GET', 'HEAD', 'PUT', 'DELETE')),
  path: fc
    .tuple(
      oneOf(...ids),
      oneOf('', '', '', '', '/', '?', '?a=1', `/${ticket}`, `/${ticket}/`, `/${uuidv7()}`, '/x', '//'),
    )
    .map(([id, end]) => purchase(id) + end),
  headers: fc.record({
    'Content-Type': oneOf(
      'application/json',
      'application/json',
      'application/json; charset=utf-8',
      'application/json;charset=utf-8',
      'Application/JSON',
      'application/json; charset=latin1',
      'application/x-www-form-urlencoded',
      'application/x-www-form-urlencoded; charset=utf-8',
      'text/plain',
      '__proto__',
      '__defineGetter__',
      'constructor',
      '',
      undefined,
    ),
    Accept: oneOf(
      undefined,
      '*/*',
      'application/json',
      'text/html',
      BROWSER.Accept,
      'text/html;q=0',
      'text/html;q=0.1,*/*',
    ),
    'X-Forwarded-Prefix': oneOf(undefined, '/', '/shop', '/shop/eu/', '//evil', '/a, /b'),
    'Content-Encoding': fc.oneof({ weight: 8, arbitrary: oneOf(undefined) }, oneOf('identity', 'gzip', 'x')),
    'Idempotency-Key': fc.oneof({ weight: 8, arbitrary: oneOf(undefined) }, oneOf('k', '')),
  }),
  body: oneOf(...bodies),
  pieces: oneOf<Pieces>('together', 'together', 'body later', 'half of the body later'),
});

/** The number of seconds is random, also in the address of the page of a rejection. */
const mask = (text: string) => text.replace(/(retry-?after[=:] ?)\d+/gi, '$1some');

test('any request gets the same response with the front and without it', async () => {
  await fc.assert(
    fc.asyncProperty(arbitrary, async (asked) => {
      const sent = requestOf(asked);
      const [front, routes] = [await send(servers.front, sent, mask), await send(servers.routes, sent, mask)];
      expect(front).toEqual(routes);
      expect(front.status).toBeLessThan(500);
    }),
    { numRuns: 400 },
  );
});

test('a buyer beyond the limit gets the same responses with the front and without it', async () => {
  const { authentication } = tokenAccess({ orders: limitOf('user', 2) });
  const limited = await serveBoth(service, authentication);
  cleanUps.push(limited.close);
  const buying = async (user: string, saleId: string) => {
    const headers = { ...JSON_TYPE, Authorization: `Bearer ${await tokenOf(user)}` };
    return requestOf({ path: purchase(saleId), headers, body: json(user) });
  };
  const buy = async (user: string, saleId: string) => {
    const sent = await buying(user, saleId);
    const maskRest = (text: string) => mask(text).replace(/(t=|again in |content-length: )\d+/gi, '$1some');
    const [front, routes] = [await send(limited.front, sent, maskRest), await send(limited.routes, sent, maskRest)];
    expect(front).toEqual(routes);
    return [front.status, JSON.parse(front.body).type];
  };
  await inFront({ path: purchase(sales.full), headers: JSON_TYPE, body: json('a') }, 429);
  // A rejection from memory does not count.
  for (let times = 0; times < 3; times++)
    expect(await buy('newcomer', sales.full)).toEqual([429, '/problems/queue-full']);
  expect(await buy(holder, roomy)).toEqual([200, undefined]);
  expect(await buy(holder, roomy)).toEqual([429, '/problems/rate-limited']);
  expect(await buy('newcomer', sales.full), 'another buyer').toEqual([429, '/problems/queue-full']);
});

test('a request in chunks gets the same response with the front and without it', async () => {
  const chunked = {
    head: `POST ${purchase(sales.full)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`,
    body: Buffer.from('e\r\n{"userId":"a"}\r\n0\r\n\r\n'),
    pieces: 'together',
  } as const;
  const before = servers.passed();
  expect(await send(servers.front, chunked, mask)).toEqual(await send(servers.routes, chunked, mask));
  expect(servers.passed() - before).toBe(1);
});

test('a client that goes away during its request leaves nothing behind', async () => {
  const before = servers.passed();
  const head = requestOf({ path: purchase(sales.full), headers: { ...JSON_TYPE, 'Content-Length': '14' } }).head;
  for (const body of ['', '{"user']) {
    const socket = connect({ port: servers.front.port, host: '127.0.0.1' });
    socket.write(head + body);
    await serverHasRead(socket);
    socket.destroy();
  }
  await eventually(
    async () => {
      const count = await new Promise<number>((resolve) =>
        servers.front.server.getConnections((_, open) => resolve(open)),
      );
      return count === 0;
    },
    { what: 'no connection is left' },
  );
  expect(servers.passed() - before, 'Express gets the requests whose body has not arrived whole').toBe(2);
});
