// Valid and invalid input: both sides of every limit of the contract, and random bodies. No input causes a 5xx or a
// partial write.
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { beforeAll, describe, expect, inject } from 'vitest';
import type { FlashSale } from '../../contracts/flash-sales.ts';
import type { Order } from '../../contracts/orders.ts';
import { serviceNames } from '../../contracts/services.ts';
import { count } from '../fault/support/sql.ts';
import { type Answer, type Call, call, freshUser, get, mugs, orderOf, postJson, readOrder } from '../setup/api.ts';
import * as schemas from '../setup/schemas.ts';
import { onEachShape } from './support/each-shape.ts';
import { asBrowser, createSale, readSale, saleOf } from './support/flash-sales.ts';
import { embedded, onServers } from './support/systems.ts';

const MIB = 1024 * 1024;
/** Random bodies per database. FUZZ_RUNS sets another number, FUZZ_SEED repeats a run. */
const RUNS = Number(process.env.FUZZ_RUNS ?? 200);
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);

const shapes = [embedded, onServers('on PostgreSQL', inject('servers'), [serviceNames])];

onEachShape({ shapes }, (on) => {
  const onShape = on.test;

  const postOrder = (body: unknown, headers?: Readonly<Record<string, string>>) =>
    postJson(`${on.url}/orders`, body, headers);
  const ordersOf = (userId: string) => get(`${on.url}/orders?userId=${encodeURIComponent(userId)}`, schemas.ordersPage);

  function expectProblem(answer: Answer, status: number, name: string): void {
    expect(answer.status, answer.text).toBe(status);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(answer.body).toMatchObject({ type: `/problems/${name}`, title: expect.any(String), status });
    expect(answer.text).not.toMatch(/node_modules|\.[jt]s:\d+/);
  }
  function expectFault(answer: Answer, path: string): void {
    expectProblem(answer, 422, 'invalid-request');
    const { errors } = answer.json(schemas.problem);
    expect(errors).toContainEqual({ path, message: expect.stringMatching(/./) });
  }

  describe('POST /orders', () => {
    /** An order in which one item differs. */
    const withItem = (changes: object) => ({ ...orderOf(freshUser()), items: [{ ...mugs[0], ...changes }] });
    const with_ = (changes: object) => ({ ...orderOf(freshUser()), ...changes });
    const item = { sku: 'MUG', quantity: 1, unitPrice: 1 };
    const items = (length: number) => Array.from({ length }, () => item);
    const largest = { sku: 'GOLD', quantity: 1_000_000, unitPrice: 1_000_000_000 };
    /** Nine of the largest items and one of the rest up to 2^53 − 1. */
    const upToTheTotal = (rest: number) => [
      ...Array.from({ length: 9 }, () => largest),
      { sku: 'A', quantity: 7_199, unitPrice: 1_000_000_000 },
      { sku: 'B', quantity: 1, unitPrice: rest },
    ];

    const accepted: [string, object][] = [
      ['userId of 1', with_({ userId: String.fromCharCode(97 + Math.floor(Math.random() * 26)) })],
      ['userId of 64', with_({ userId: freshUser().padEnd(64, '-') })],
      ['userId of every kind of character', with_({ userId: `Az09_.:@-${freshUser()}`.slice(0, 64) })],
      ['currency without decimals', with_({ currency: 'JPY' })],
      ['currency with three decimals', with_({ currency: 'KWD' })],
      ['1 item', with_({ items: items(1) })],
      ['2,000 items', with_({ items: items(2_000) })],
      ['sku of 1', withItem({ sku: 'x' })],
      ['sku of 64', withItem({ sku: '🛒'.repeat(32) })],
      ['no name', withItem({ name: undefined })],
      ['name of 0', withItem({ name: '' })],
      ['name of 200', withItem({ name: 'ü'.repeat(200) })],
      ['quantity 1', withItem({ quantity: 1 })],
      ['quantity 1,000,000', withItem({ quantity: 1_000_000 })],
      ['unitPrice 0', withItem({ unitPrice: 0 })],
      ['unitPrice 1,000,000,000', withItem({ unitPrice: 1_000_000_000 })],
      ['total 2^53 − 1', with_({ items: upToTheTotal(254_740_991) })],
    ];
    onShape.for(accepted)('accepts %s', async ([, body]) => {
      const answer = await postOrder(body);
      expect(answer.status, answer.text).toBe(201);
      const order = answer.json(schemas.order);
      const sent = JSON.parse(JSON.stringify(body)) as Pick<Order, 'userId' | 'currency' | 'items'>;
      expect(order).toMatchObject({ userId: sent.userId, currency: sent.currency, items: sent.items });
      expect(BigInt(order.total)).toBe(
        sent.items.reduce((sum, each) => sum + BigInt(each.quantity) * BigInt(each.unitPrice), 0n),
      );
      const read = await readOrder(on.url, order.id);
      expect({ ...read, status: 'placed', steps: order.steps }).toEqual(order);
    });

    const rejected: [string, unknown, string][] = [
      ['an empty body', '', 'userId'],
      ['null', null, ''],
      ['a number', 7, ''],
      ['an array', [], ''],
      ['no userId', with_({ userId: undefined }), 'userId'],
      ['userId of 0', with_({ userId: '' }), 'userId'],
      ['userId of 65', with_({ userId: 'u'.repeat(65) }), 'userId'],
      ['userId with a slash', with_({ userId: 'a/b' }), 'userId'],
      ['userId with a line break at its end', with_({ userId: 'ann\n' }), 'userId'],
      ['userId that is a number', with_({ userId: 1 }), 'userId'],
      ['no currency', with_({ currency: undefined }), 'currency'],
      ['currency in small letters', with_({ currency: 'gbp' }), 'currency'],
      ['currency that does not exist', with_({ currency: 'XYZ' }), 'currency'],
      ['currency that is gold, not money', with_({ currency: 'XAU' }), 'currency'],
      ['no items', with_({ items: undefined }), 'items'],
      ['0 items', with_({ items: [] }), 'items'],
      ['2,001 items', with_({ items: items(2_001) }), 'items'],
      ['items that are an object', with_({ items: { 0: item } }), 'items'],
      ['an item that is null', with_({ items: [item, null] }), 'items.1'],
      ['sku of 0', withItem({ sku: '' }), 'items.0.sku'],
      ['sku of 65', withItem({ sku: 'x'.repeat(65) }), 'items.0.sku'],
      ['sku with NUL', withItem({ sku: 'a\u0000b' }), 'items.0.sku'],
      ['sku with a lone surrogate', withItem({ sku: 'a\ud83d' }), 'items.0.sku'],
      ['name of 201', withItem({ name: 'x'.repeat(201) }), 'items.0.name'],
      ['name that is null', withItem({ name: null }), 'items.0.name'],
      ['name with NUL', withItem({ name: '\u0000' }), 'items.0.name'],
      ['name with a lone surrogate', withItem({ name: '\udc00' }), 'items.0.name'],
      ['quantity 0', withItem({ quantity: 0 }), 'items.0.quantity'],
      ['quantity 1,000,001', withItem({ quantity: 1_000_001 }), 'items.0.quantity'],
      ['quantity 1.5', withItem({ quantity: 1.5 }), 'items.0.quantity'],
      ['quantity "1"', withItem({ quantity: '1' }), 'items.0.quantity'],
      ['unitPrice −1', withItem({ unitPrice: -1 }), 'items.0.unitPrice'],
      ['unitPrice 1,000,000,001', withItem({ unitPrice: 1_000_000_001 }), 'items.0.unitPrice'],
      ['unitPrice 0.1', withItem({ unitPrice: 0.1 }), 'items.0.unitPrice'],
      ['total 2^53', with_({ items: upToTheTotal(254_740_992) }), 'items'],
      ['a field of Object.prototype', with_({ constructor: 1 }), 'constructor'],
      [
        'a field that is named __proto__',
        JSON.parse(`{ "__proto__": 1, ${JSON.stringify(with_({})).slice(1)}`),
        '__proto__',
      ],
    ];

    const unknown: [string, unknown, string, RegExp][] = [
      ['of the order', with_({ note: 'please' }), 'note', /known fields are userId, currency, items$/],
      ['in snake case', with_({ user_id: 'ann' }), 'user_id', /did you mean userId\?/],
      ['of an item, misspelt', withItem({ quantiy: 1 }), 'items.0.quantiy', /did you mean quantity\?/],
      ['of an item, abbreviated', withItem({ qty: 1 }), 'items.0.qty', /did you mean quantity\?/],
      ['of an item, with a part of its name', withItem({ price: 1 }), 'items.0.price', /did you mean unitPrice\?/],
      ['of an item, not similar to any', withItem({ title: 'Mug' }), 'items.0.title', /known fields are sku, name, /],
    ];
    onShape.for(unknown)('rejects an unknown field %s', async ([, body, path, message]) => {
      const answer = await postOrder(body);
      expectFault(answer, path);
      expect(answer.json(schemas.problem).errors).toContainEqual({ path, message: expect.stringMatching(message) });
    });

    onShape('names each unknown field, up to a bound', async () => {
      const two = await postOrder(with_({ note: 1, remark: 2 }));
      expect(two.json(schemas.problem)).toMatchObject({
        detail: '2 invalid fields.',
        errors: [{ path: 'note' }, { path: 'remark' }],
      });
      const many = Object.fromEntries(Array.from({ length: 50_000 }, (_, index) => [`field${index}`, 1]));
      const answer = await postOrder(with_(many));
      expectProblem(answer, 422, 'invalid-request');
      expect(answer.text.length).toBeLessThan(10_000);
    });

    onShape('says which fields are missing', async () => {
      const missing = ['userId', 'currency', 'items'].map((path) => ({ path, message: 'is required' }));
      expect((await postOrder({})).json(schemas.problem)).toMatchObject({ errors: missing });
    });

    onShape.for(rejected)('rejects %s and names the field', async ([, body, path]) => {
      expectFault(await postOrder(body), path);
      const userId = (body as { userId?: unknown } | null | undefined)?.userId;
      if (typeof userId === 'string' && /^user-/.test(userId)) expect((await ordersOf(userId)).items).toEqual([]);
    });

    onShape('rejects JSON numbers that are no safe integers', async () => {
      for (const number of ['1e400', '-1e400', '1e16', '9007199254740993', '-0.5']) {
        const body = JSON.stringify(withItem({ quantity: 0 })).replace('"quantity":0', `"quantity":${number}`);
        expectFault(await postOrder(body), 'items.0.quantity');
      }
    });

    onShape('names a bounded number of invalid fields', async () => {
      const answer = await postOrder(with_({ items: Array.from({ length: 2_000 }, () => ({})) }));
      expectProblem(answer, 422, 'invalid-request');
      expect(answer.text.length).toBeLessThan(10_000);
    });

    const keys: [string, string, number][] = [
      ['of 1', 'k', 201],
      ['of 255', 'k'.repeat(255), 201],
      [
        'of every printable character',
        Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index))
          .join('')
          .trim(),
        201,
      ],
      ['of 0', '', 422],
      ['of 256', 'k'.repeat(256), 422],
      ['with a tab', 'a\tb', 422],
      ['beyond ASCII', 'caf\u00e9', 422],
    ];
    onShape.for(keys)('an Idempotency-Key %s', async ([, key, status]) => {
      const answer = await postOrder(orderOf(freshUser()), { 'idempotency-key': key });
      if (status === 201) expect(answer.status, answer.text).toBe(201);
      else expectFault(answer, 'Idempotency-Key');
    });

    const json = 'application/json';
    const gzip = { 'content-type': json, 'content-encoding': 'gzip' };
    const bodies: [string, Call['headers'], string | Buffer, number, string][] = [
      ['no media type', {}, JSON.stringify(orderOf(freshUser())), 415, 'unsupported-media-type'],
      ['plain text', { 'content-type': 'text/plain' }, '{}', 415, 'unsupported-media-type'],
      ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 'a=b', 415, 'unsupported-media-type'],
      ['another charset', { 'content-type': `${json}; charset=latin1` }, '{}', 415, 'unsupported-media-type'],
      ['an unknown encoding', { 'content-type': json, 'content-encoding': 'zip' }, '{}', 415, 'unsupported-media-type'],
      ['malformed JSON', { 'content-type': json }, '{"userId": ', 400, 'malformed-body'],
      ['two JSON values', { 'content-type': json }, '{}{}', 400, 'malformed-body'],
      ['malformed UTF-8', { 'content-type': json }, Buffer.from([0x22, 0xff, 0xfe, 0x22]), 400, 'malformed-body'],
      [
        'a surrogate in UTF-8',
        { 'content-type': json },
        Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]),
        400,
        'malformed-body',
      ],
      ['invalid gzip', gzip, '{}', 400, 'malformed-body'],
      ['invalid brotli', { ...gzip, 'content-encoding': 'br' }, 'garbage garbage garbage', 400, 'malformed-body'],
      ['truncated gzip', gzip, gzipSync('{}').subarray(0, 12), 400, 'malformed-body'],
      ['1 MiB and a byte', { 'content-type': json }, ' '.repeat(MIB + 1), 413, 'body-too-large'],
      ['a gzip bomb', gzip, gzipSync(' '.repeat(20 * MIB)), 413, 'body-too-large'],
    ];
    onShape.for(bodies)('%s', async ([, headers, body, status, name]) => {
      const answer = await call(`${on.url}/orders`, { method: 'POST', headers: headers ?? {}, body });
      expectProblem(answer, status, name);
    });

    const causes: [string, Call['headers'], string | Buffer, RegExp][] = [
      [
        'a media type',
        { 'content-type': 'text/plain; x=y' },
        '{}',
        /^Content-Type is text\/plain, not application\/json\.$/,
      ],
      ['no media type', {}, '{}', /^Content-Type is missing: send application\/json\.$/],
      ['a charset', { 'content-type': `${json}; charset=latin1` }, '{}', /charset=latin1\. Send charset=utf-8/],
      [
        'an encoding',
        { ...gzip, 'content-encoding': 'zip' },
        '{}',
        /^Content-Encoding is zip\. Send gzip, deflate, br/,
      ],
      ['a body that is not compressed', gzip, '{}', /is not what Content-Encoding says, gzip/],
      ['a truncated compressed body', gzip, gzipSync('{}').subarray(0, 12), /is not what Content-Encoding says, gzip/],
      ['UTF-16', { 'content-type': json }, Buffer.from('\ufeff{}', 'utf16le'), /UTF-8/],
      ['malformed JSON', { 'content-type': json }, '{"userId": "ann",}', /must be JSON: .*position 17/],
    ];
    onShape.for(causes)('the problem with %s names its own cause', async ([, headers, body, detail]) => {
      const answer = await call(`${on.url}/orders`, { method: 'POST', headers: headers ?? {}, body });
      expect(answer.json(schemas.problem).detail).toMatch(detail);
    });

    onShape('accepts 1 MiB, a charset parameter and a compressed body', async () => {
      const body = JSON.stringify(orderOf(freshUser()));
      expect((await postOrder(body.padEnd(MIB))).status).toBe(201);
      const headers = { 'content-type': 'Application/JSON; charset=UTF-8', 'content-encoding': 'gzip' };
      expect((await call(`${on.url}/orders`, { method: 'POST', headers, body: gzipSync(body) })).status).toBe(201);
    });
  });

  describe('POST /flash-sales', () => {
    const with_ = (changes: object) => saleOf({ opensAt: '2099-01-01T00:00:00Z', ...changes });
    const postSale = (body: unknown) => postJson(`${on.url}/flash-sales`, body);
    const past = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();

    const accepted: [string, object][] = [
      ['sku of 1', with_({ sku: 'x' })],
      ['sku of 64', with_({ sku: '🛒'.repeat(32) })],
      ['name of 1', with_({ name: 'x' })],
      ['name of 200', with_({ name: 'ü'.repeat(200) })],
      ['unitPrice 0', with_({ unitPrice: 0 })],
      ['unitPrice 1,000,000,000', with_({ unitPrice: 1_000_000_000 })],
      ['currency with three decimals', with_({ currency: 'KWD' })],
      ['stock 1', with_({ stock: 1 })],
      ['stock 1,000,000,000', with_({ stock: 1_000_000_000 })],
      ['queueCap 1', with_({ queueCap: 1 })],
      ['queueCap 1,000,000', with_({ queueCap: 1_000_000 })],
      ['drainPerSecond 1', with_({ drainPerSecond: 1 })],
      ['drainPerSecond 10,000', with_({ drainPerSecond: 10_000 })],
      ['holdSeconds 0', with_({ holdSeconds: 0 })],
      ['holdSeconds 86,400', with_({ holdSeconds: 86_400 })],
      ['no opensAt', with_({ opensAt: undefined })],
      ['opensAt in the past', with_({ opensAt: '2000-01-01T00:00:00Z' })],
      ['opensAt in the last second of 2199', with_({ opensAt: '2199-12-31T23:59:59.999Z' })],
      ['opensAt on a leap day', with_({ opensAt: '2096-02-29T12:00:00.123456789Z' })],
      ['opensAt with an offset', with_({ opensAt: '2099-01-01T01:00:00+01:00' })],
      ['opensAt with a negative offset of half an hour', with_({ opensAt: '2098-12-31T20:30:00.5-03:30' })],
      ['opensAt that is 2000 only in UTC', with_({ opensAt: '1999-12-31T23:00:00-01:00' })],
      ['closesAt null, as in a sale', with_({ closesAt: null })],
      ['closesAt a millisecond after opensAt', with_({ closesAt: '2099-01-01T00:00:00.001Z' })],
      ['opensAt in the past and closesAt to come', with_({ opensAt: past(1), closesAt: '2099-01-01T00:00:00Z' })],
    ];
    onShape.for(accepted)('accepts %s', async ([, body]) => {
      const answer = await postSale(body);
      expect(answer.status, answer.text).toBe(201);
      const sale = answer.json(schemas.flashSale);
      const sent = JSON.parse(JSON.stringify(body)) as Record<string, unknown>;
      for (const field of ['sku', 'name', 'unitPrice', 'currency', 'queueCap', 'drainPerSecond'] as const)
        expect(sale[field]).toBe(sent[field]);
      expect(sale.stock).toEqual({ initial: sent.stock, remaining: sent.stock, held: 0, sold: 0 });
      if (typeof sent.opensAt === 'string') expect(Date.parse(sale.opensAt)).toBe(Date.parse(sent.opensAt));
      expect(await readSale(on.url, sale.id)).toEqual(sale);
    });

    const rejected: [string, unknown, string][] = [
      ['an empty body', '', 'sku'],
      ['null', null, ''],
      ['an array', [], ''],
      ['no sku', with_({ sku: undefined }), 'sku'],
      ['sku of 0', with_({ sku: '' }), 'sku'],
      ['sku of 65', with_({ sku: 'x'.repeat(65) }), 'sku'],
      ['sku with NUL', with_({ sku: 'a\u0000b' }), 'sku'],
      ['no name', with_({ name: undefined }), 'name'],
      ['name of 0', with_({ name: '' }), 'name'],
      ['name of 201', with_({ name: 'x'.repeat(201) }), 'name'],
      ['name with a lone surrogate', with_({ name: 'a\ud83d' }), 'name'],
      ['name that is a list', with_({ name: ['Lamp'] }), 'name'],
      ['currency that does not exist', with_({ currency: 'XYZ' }), 'currency'],
      ['currency in small letters', with_({ currency: 'gbp' }), 'currency'],
      ['unitPrice −1', with_({ unitPrice: -1 }), 'unitPrice'],
      ['unitPrice 1,000,000,001', with_({ unitPrice: 1_000_000_001 }), 'unitPrice'],
      ['holdSeconds 86,401', with_({ holdSeconds: 86_401 }), 'holdSeconds'],
      ['holdSeconds −1', with_({ holdSeconds: -1 }), 'holdSeconds'],
      ['holdSeconds "0"', with_({ holdSeconds: '0' }), 'holdSeconds'],
      ...(
        [
          ['stock', 1_000_000_000],
          ['queueCap', 1_000_000],
          ['drainPerSecond', 10_000],
        ] as const
      ).flatMap(([field, most]) =>
        [0, -1, most + 1, 1.5, '1', null, undefined, true, [1], 2 ** 53].map((value): [string, unknown, string] => [
          `${field} ${JSON.stringify(value)}`,
          with_({ [field]: value }),
          field,
        ]),
      ),
      ...['opensAt', 'closesAt'].flatMap((field) =>
        [
          'tomorrow',
          '',
          '2099-01-01',
          '2099-01-01T00:00:00',
          '2099-01-01T00:00:00+25:00',
          '2099-01-01T00:00:00 Europe/London',
          '2000-01-01T00:00:00+01:00',
          '2199-12-31T23:59:59-01:00',
          '2099-02-29T00:00:00Z',
          '2099-13-01T00:00:00Z',
          '2099-01-01T24:00:00Z',
          '2099-12-31T23:59:60Z',
          '1999-12-31T23:59:59Z',
          '2200-01-01T00:00:00Z',
          '+012099-01-01T00:00:00Z',
          'infinity',
          4_070_908_800_000,
        ].map((value): [string, unknown, string] => [
          `${field} ${JSON.stringify(value)}`,
          with_({ [field]: value }),
          field,
        ]),
      ),
      ['opensAt null', with_({ opensAt: null }), 'opensAt'],
      ['an unknown field', with_({ status: 'closed' }), 'status'],
      ['closesAt equal to opensAt, with another offset', with_({ closesAt: '2099-01-01T02:00:00+02:00' }), 'closesAt'],
      ['closesAt equal to opensAt', with_({ closesAt: '2099-01-01T00:00:00Z' }), 'closesAt'],
      ['closesAt before opensAt', with_({ closesAt: '2098-12-31T23:59:59.999Z' }), 'closesAt'],
      ['closesAt in the past', with_({ opensAt: undefined, closesAt: past(1) }), 'closesAt'],
      ['opensAt and closesAt in the past', with_({ opensAt: past(2), closesAt: past(1) }), 'closesAt'],
      [
        'closesAt less than a microsecond after opensAt',
        with_({ opensAt: '2099-01-01T00:00:00.0009997Z', closesAt: '2099-01-01T00:00:00.001Z' }),
        'closesAt',
      ],
    ];
    onShape.for(rejected)('rejects %s and names the field', async ([, body, path]) => {
      expectFault(await postSale(body), path);
    });

    onShape('rejects forms and bodies that are not JSON', async () => {
      const form = new URLSearchParams(
        Object.entries(with_({})).map(([key, value]): [string, string] => [key, String(value)]),
      ).toString();
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      const asForm = await call(`${on.url}/flash-sales`, { method: 'POST', headers, body: form });
      expectProblem(asForm, 415, 'unsupported-media-type');
      expectProblem(await postSale('{"sku": '), 400, 'malformed-body');
      expectProblem(await postSale(' '.repeat(MIB + 1)), 413, 'body-too-large');
    });
  });

  describe('POST /flash-sales/:id/purchases', () => {
    let sale: FlashSale;
    beforeAll(async () => {
      if (on.shape.available)
        sale = await createSale(on.url, { stock: 1_000_000, queueCap: 10_000, drainPerSecond: 1_000 });
    });
    const path = () => `${on.url}/flash-sales/${sale.id}/purchases`;
    const form = (body: string | Buffer, headers: Readonly<Record<string, string>> = {}) =>
      call(path(), {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
        body,
      });

    const users: [string, string][] = [
      ['of 64', freshUser().padEnd(64, '-')],
      ['of every kind of character', `Az09_.:@-${freshUser()}`.slice(0, 64)],
    ];
    onShape.for(users)('accepts a userId %s, as JSON and as a form', async ([, userId]) => {
      const first = await postJson(path(), { userId });
      expect(first.status, first.text).toBe(202);
      const again = await form(`userId=${encodeURIComponent(userId)}`);
      expect([again.status, again.json(schemas.purchase).ticketId]).toEqual([
        200,
        first.json(schemas.purchase).ticketId,
      ]);
    });

    const bodies: [string, unknown, string][] = [
      ['an empty body', '', 'userId'],
      ['null', null, ''],
      ['a text', '"ann"', ''],
      ['no userId', {}, 'userId'],
      ['userId of 0', { userId: '' }, 'userId'],
      ['userId of 65', { userId: 'u'.repeat(65) }, 'userId'],
      ['userId with a slash', { userId: 'a/b' }, 'userId'],
      ['userId with a line break at its end', { userId: 'ann\n' }, 'userId'],
      ['userId with NUL', { userId: 'a\u0000' }, 'userId'],
      ['userId that is a number', { userId: 1 }, 'userId'],
      ['userId that is a list', { userId: ['ann'] }, 'userId'],
      ['an unknown field', { userId: 'ann', quantity: 2 }, 'quantity'],
    ];
    onShape.for(bodies)('rejects %s and names the field', async ([, body, at]) => {
      const { counts } = await readSale(on.url, sale.id);
      expectFault(await postJson(path(), body), at);
      expect((await readSale(on.url, sale.id)).counts.admitted).toBe(counts.admitted);
    });

    const forms: [string, string | Buffer, number, string][] = [
      ['without a userId', 'user=ann', 422, 'invalid-request'],
      ['with an unknown field', 'userId=ann&quantity=2', 422, 'invalid-request'],
      ['without anything', '', 422, 'invalid-request'],
      ['with two userIds', 'userId=ann&userId=bob', 422, 'invalid-request'],
      ['with a userId that is an object', 'userId[name]=ann', 422, 'invalid-request'],
      ['with a userId out of bounds', 'userId=a%2Fb', 422, 'invalid-request'],
      ['with NUL', 'userId=%00', 422, 'invalid-request'],
      ['with a lone surrogate', 'userId=%ED%A0%80', 422, 'invalid-request'],
      ['with an invalid escape', 'userId=%E0%A4%A', 422, 'invalid-request'],
      ['with keys of Object.prototype', '__proto__=x&constructor=y', 422, 'invalid-request'],
      ['that is not UTF-8', Buffer.from([...Buffer.from('userId='), 0xff, 0xfe]), 400, 'malformed-body'],
      ['of many fields', 'a=b&'.repeat(100), 413, 'body-too-large'],
      ['of many bytes', `userId=${'a'.repeat(10_000)}`, 413, 'body-too-large'],
    ];
    onShape.for(forms)('rejects a form %s', async ([, body, status, name]) => {
      expectProblem(await form(body), status, name);
      // A browser gets a problem, too, because no page sends such a form.
      expect((await form(body, asBrowser)).status).toBe(status);
    });

    onShape('rejects other media types and unreadable bodies', async () => {
      const post = (headers: Readonly<Record<string, string>>, body: string | Buffer) =>
        call(path(), { method: 'POST', headers, body });
      const json = 'application/json';
      expectProblem(await post({}, '{"userId":"ann"}'), 415, 'unsupported-media-type');
      expectProblem(await post({ 'content-type': 'text/plain' }, 'userId=ann'), 415, 'unsupported-media-type');
      expectProblem(
        await post({ 'content-type': 'multipart/form-data; boundary=x' }, '--x--'),
        415,
        'unsupported-media-type',
      );
      expectProblem(await form('userId=ann', { 'content-encoding': 'zip' }), 415, 'unsupported-media-type');
      expectProblem(await post({ 'content-type': json }, '{"userId":'), 400, 'malformed-body');
      expectProblem(await post({ 'content-type': json }, Buffer.from([0x22, 0xff, 0xfe, 0x22])), 400, 'malformed-body');
      expectProblem(await post({ 'content-type': json }, ' '.repeat(MIB + 1)), 413, 'body-too-large');
    });

    onShape('responds with 404 for unknown sales and tickets', async () => {
      const other = await createSale(on.url);
      const { ticketId } = (await postJson(path(), { userId: freshUser() })).json(schemas.purchase);
      const none = '01993a5e-0000-7000-8000-000000000000';
      for (const saleId of [none, '1', 'null', '%00', `${sale.id}0`, '%E0%A4%A']) {
        const at = `${on.url}/flash-sales/${saleId}`;
        expectProblem(await call(at), 404, 'not-found');
        expectProblem(await postJson(`${at}/purchases`, { userId: freshUser() }), 404, 'not-found');
        expectProblem(await call(`${at}/purchases/${ticketId}`), 404, 'not-found');
        for (const answer of [
          await call(at, { headers: asBrowser }),
          await call(`${at}/purchases/${ticketId}`, { headers: asBrowser }),
          await call(`${at}/rejected?reason=sold-out&userId=ann`, { headers: asBrowser }),
          await form('userId=ann').then(() =>
            call(`${at}/purchases`, {
              method: 'POST',
              headers: { ...asBrowser, 'content-type': 'application/x-www-form-urlencoded' },
              body: 'userId=ann',
            }),
          ),
        ]) {
          expect(answer.status).toBe(404);
        }
      }
      for (const id of [none, '1', '%00', sale.id]) {
        expectProblem(await call(`${path()}/${id}`), 404, 'not-found');
      }
      expectProblem(await call(`${on.url}/flash-sales/${other.id}/purchases/${ticketId}`), 404, 'not-found');
      const upper = await call(`${on.url}/flash-sales/${sale.id.toUpperCase()}/purchases/${ticketId.toUpperCase()}`);
      expect(upper.status).toBe(200);
    });

    onShape('the page about a rejection accepts only the parameters of its redirect', async () => {
      const page = (query: string) =>
        call(`${on.url}/flash-sales/${sale.id}/rejected?${query}`, { headers: asBrowser });
      for (const query of ['reason=queue-full&userId=ann&retryAfter=7', 'reason=sold-out&userId=ann'])
        expect((await page(query)).status).toBe(200);
      const faults: [string, string][] = [
        ['userId=ann', 'reason'],
        ['reason=bored&userId=ann', 'reason'],
        ['reason=sold-out', 'userId'],
        ['reason=sold-out&userId=%3Cscript%3E', 'userId'],
        ['reason=sold-out&userId=ann&userId=bob', 'userId'],
        ['reason=sold-out&userId=ann&retryAfter=-1', 'retryAfter'],
        ['reason=sold-out&userId=ann&retryAfter=1e9', 'retryAfter'],
        ['reason=sold-out&userId=ann&retryAfter=9999999999999', 'retryAfter'],
      ];
      for (const [query, at] of faults) expectFault(await page(query), at);
    });
  });

  describe('other requests', () => {
    const someId = '01993a5e-0000-7000-8000-000000000000';
    const rejected: [string, string, number, string][] = [
      ['an order that does not exist', `/orders/${someId}`, 404, 'not-found'],
      ['an id that is none', '/orders/1', 404, 'not-found'],
      ['an id with NUL', '/orders/%00', 404, 'not-found'],
      ['the history of an id that is none', '/orders/1/history', 404, 'not-found'],
      ['the history of an unknown order', '/orders/01993a5e-0000-7000-8000-000000000000/history', 404, 'not-found'],
      ['a part of the history of an id that is none', '/audit/points/history/1', 404, 'not-found'],
      ['an id that cannot be decoded', '/orders/%E0%A4%A', 404, 'not-found'],
      ['a route that does not exist', '/order', 404, 'not-found'],
      ['the root', '/', 404, 'not-found'],
      ['a user who cannot be', '/users/a%2Fb/points', 404, 'not-found'],
      ['a user of 65', `/users/${'u'.repeat(65)}/coupons`, 404, 'not-found'],
      ['a service that does not exist', '/failed-messages/billing', 404, 'not-found'],
    ];
    onShape.for(rejected)('%s: %s', async ([, path, status, name]) => {
      expectProblem(await call(`${on.url}${path}`), status, name);
    });

    const lists = [
      '/orders?userId=ann',
      '/users/ann/points?',
      '/users/ann/coupons?',
      '/users/ann/notifications?',
      '/failed-messages/order?',
      '/flash-sales?',
    ];
    onShape.for(lists)('%s rejects limits and cursors out of bounds', async (list) => {
      for (const limit of ['0', '201', '-1', '1.5', '1e2', 'x', '']) {
        expectFault(await call(`${on.url}${list}&limit=${limit}`), 'limit');
      }
      for (const limit of ['1', '200']) expect((await call(`${on.url}${list}&limit=${limit}`)).status).toBe(200);
      expectFault(await call(`${on.url}${list}&limit=1&limit=2`), 'limit');
      for (const after of ['x', '1', `${someId}0`, '%00', '']) {
        expectFault(await call(`${on.url}${list}&after=${after}`), 'after');
      }
      expect((await call(`${on.url}${list}&after=${someId}`)).status).toBe(200);
      expectFault(await call(`${on.url}${list}&offset=5`), 'offset');
      const misspelt = await call(`${on.url}${list}&limt=5`);
      expect(misspelt.text).toContain('did you mean limit?');
    });

    onShape('a request that cannot use an Idempotency-Key rejects it', async () => {
      const sale = await createSale(on.url);
      const { id } = (await postOrder(orderOf(freshUser()))).json(schemas.order);
      const { ticketId } = (await postJson(`${on.url}/flash-sales/${sale.id}/purchases`, { userId: freshUser() })).json(
        schemas.purchase,
      );
      const headers = { 'idempotency-key': 'k' };
      for (const [method, path] of [
        ['POST', `/flash-sales/${sale.id}/purchases`],
        ['GET', `/flash-sales/${sale.id}/purchases/${ticketId}`],
        ['GET', `/orders/${id}`],
        ['GET', '/flash-sales'],
        ['POST', `/orders/${id}/cancel`],
        ['POST', `/orders/${id}/pay`],
        ['POST', '/failed-messages/order/retry'],
      ] as const) {
        const body = path.endsWith('purchases') ? { body: JSON.stringify({ userId: freshUser() }) } : {};
        const type = { 'content-type': 'application/json' };
        expectFault(
          await call(`${on.url}${path}`, { method, headers: { ...headers, ...type }, ...body }),
          'Idempotency-Key',
        );
      }
      expect((await readSale(on.url, sale.id)).counts.admitted).toBe(1);
      expect((await readOrder(on.url, id)).status).not.toBe('cancelled');
    });

    onShape('a request that has no fields rejects any', async () => {
      const { id } = (await postOrder(orderOf(freshUser()))).json(schemas.order);
      expectFault(await postJson(`${on.url}/failed-messages/order/retry`, { type: 'order.placed' }), 'type');
      expectFault(await postJson(`${on.url}/orders/${id}/pay`, { amount: 1 }), 'amount');
      expectFault(await postJson(`${on.url}/orders/${id}/cancel`, { raeson: 'x' }), 'raeson');
      expect((await postJson(`${on.url}/failed-messages/order/retry`, {})).status).toBe(202);
    });

    onShape('orders are listed only for one user', async () => {
      expectFault(await call(`${on.url}/orders`), 'userId');
      expectFault(await call(`${on.url}/orders?userId=`), 'userId');
      expectFault(await call(`${on.url}/orders?userId=a%20b`), 'userId');
      expectFault(await call(`${on.url}/orders?userId=a&userId=b`), 'userId');
    });

    const allowed: [string, string][] = [
      ['/orders', 'GET, HEAD, POST'],
      [`/orders/${someId}`, 'GET, HEAD'],
      ['/users/ann/points', 'GET, HEAD'],
      ['/readyz', 'GET, HEAD'],
      ['/failed-messages/order/retry', 'POST'],
      ['/flash-sales', 'GET, HEAD, POST'],
      [`/flash-sales/${someId}`, 'GET, HEAD'],
      [`/flash-sales/${someId}/purchases`, 'POST'],
      [`/flash-sales/${someId}/purchases/${someId}`, 'GET, HEAD'],
      [`/flash-sales/${someId}/rejected`, 'GET, HEAD'],
    ];
    onShape.for(allowed)('%s allows only %s', async ([path, allow]) => {
      for (const method of ['PUT', 'DELETE', 'PATCH'] as const) {
        const answer = await call(`${on.url}${path}`, { method });
        expectProblem(answer, 405, 'method-not-allowed');
        expect(answer.headers.allow).toBe(allow);
      }
    });
  });

  onShape(
    'no order body causes a 5xx or a partial order',
    async () => {
      console.info(`${RUNS} bodies, ${on.shape.name}: FUZZ_SEED=${SEED}`);
      const before = on.system.databaseUrl && (await count(on.system.databaseUrl, 'sluice_order.orders'));
      let created = 0;
      await fc.assert(
        fc.asyncProperty(bodies(), async (write) => {
          const userId = freshUser();
          const answer = await postOrder(write(userId));
          expect(answer.status, answer.text).toBeLessThan(500);
          const stored = (await ordersOf(userId)).items;
          if (answer.status !== 201) {
            expect(stored).toEqual([]);
            return;
          }
          created++;
          const order = answer.json(schemas.order);
          const read = await readOrder(on.url, order.id);
          expect({ ...read, status: order.status, steps: order.steps }).toEqual(order);
          if (order.userId === userId) expect(stored.map(({ id }) => id)).toEqual([order.id]);
        }),
        { numRuns: RUNS, seed: SEED },
      );
      expect(created).toBeGreaterThan(RUNS / 20);
      if (on.system.databaseUrl)
        expect(await count(on.system.databaseUrl, 'sluice_order.orders')).toBe(Number(before) + created);
    },
    60_000,
  );

  onShape(
    'no sale body causes a 5xx, and the stored sale equals the response',
    async () => {
      console.info(`${RUNS} sales, ${on.shape.name}: FUZZ_SEED=${SEED}`);
      let created = 0;
      await fc.assert(
        fc.asyncProperty(saleBodies(), async (body) => {
          const answer = await postJson(`${on.url}/flash-sales`, body);
          expect(answer.status, answer.text).toBeLessThan(500);
          if (answer.status !== 201) return;
          created++;
          const sale = answer.json(schemas.flashSale);
          expect(await readSale(on.url, sale.id)).toEqual(sale);
          // The sale can be read and bought from.
          expect((await call(`${on.url}/flash-sales/${sale.id}`, { headers: asBrowser })).status).toBe(200);
          const bought = await postJson(`${on.url}/flash-sales/${sale.id}/purchases`, { userId: freshUser() });
          expect(bought.status).toBe(sale.status === 'scheduled' ? 409 : 202);
        }),
        { numRuns: RUNS, seed: SEED },
      );
      expect(created).toBeGreaterThan(RUNS / 20);
      if (on.system.databaseUrl)
        expect(await count(on.system.databaseUrl, 'sluice_flash_sale.sales')).toBeGreaterThanOrEqual(created);
    },
    60_000,
  );

  onShape(
    'no purchase body causes a 5xx, and only a valid user gets a ticket',
    async () => {
      console.info(`${RUNS} purchases, ${on.shape.name}: FUZZ_SEED=${SEED}`);
      const sale = await createSale(on.url, { stock: 1_000_000, queueCap: 100_000, drainPerSecond: 1_000 });
      const anyValue = fc.oneof(
        fc.constant('USER'),
        fc.string({ unit: 'binary', maxLength: 70 }),
        fc.jsonValue({ maxDepth: 2 }),
      );
      const anyBody = fc.oneof(
        anyValue.map((userId) => ({ type: 'application/json', body: JSON.stringify({ userId }) })),
        fc
          .array(fc.tuple(fc.constantFrom('userId', 'userId[]', 'a'), anyValue.map(String)), { maxLength: 3 })
          .map((fields) => ({
            type: 'application/x-www-form-urlencoded',
            body: new URLSearchParams(fields.map(([key, value]): [string, string] => [key, value])).toString(),
          })),
        fc.string({ unit: 'binary', maxLength: 100 }).map((body) => ({
          type: 'application/x-www-form-urlencoded',
          body: body.toWellFormed(),
        })),
      );
      const anyAccept = fc.constantFrom(
        '',
        '*/*',
        'text/html',
        asBrowser.accept,
        'text/html;q=x',
        ',,;q',
        'x'.repeat(500),
      );
      let admitted = 0;
      await fc.assert(
        fc.asyncProperty(anyBody, anyAccept, async ({ type, body }, accept) => {
          const answer = await call(`${on.url}/flash-sales/${sale.id}/purchases`, {
            method: 'POST',
            headers: { 'content-type': type, ...(accept ? { accept } : {}) },
            body: body.replaceAll('USER', freshUser()),
          });
          expect([200, 202, 303, 400, 413, 422], answer.text).toContain(answer.status);
          if (answer.status === 202 || answer.status === 303) admitted++;
        }),
        { numRuns: RUNS, seed: SEED },
      );
      expect(admitted).toBeGreaterThan(RUNS / 20);
      expect((await readSale(on.url, sale.id)).counts.admitted).toBeLessThanOrEqual(admitted);
    },
    60_000,
  );
});

/** JSON texts of a flash sale with headers: valid, almost valid, and random. */
function saleBodies(): fc.Arbitrary<string> {
  const mostly = <T>(good: fc.Arbitrary<T>, bad: fc.Arbitrary<unknown>) =>
    fc.oneof({ weight: 12, arbitrary: good as fc.Arbitrary<unknown> }, { weight: 1, arbitrary: bad });
  const anyTime = fc.oneof(
    fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
    fc
      .tuple(fc.integer({ min: 1_990, max: 2_210 }), fc.integer({ min: 0, max: 13 }), fc.integer({ min: 0, max: 32 }))
      .map(
        ([year, month, day]) => `${year}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}T00:00:00Z`,
      ),
    fc.constantFrom('2099-01-01T00:00Z', '2099-01-01T00:00:00.1234567Z', 'epoch', 'now'),
  );
  const anything = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.double(),
    fc.constantFrom('\u0000', '\ud800', 2 ** 31, 2 ** 53, -0, 1e308),
    anyTime,
  );
  const whole = (max: number) => mostly(fc.integer({ min: 1, max }), anything);
  return fc.oneof(
    {
      weight: 12,
      arbitrary: fc
        .record(
          {
            sku: mostly(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 16 }), anything),
            name: mostly(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }), anything),
            unitPrice: whole(1_000_000_000),
            currency: mostly(fc.constantFrom('GBP', 'JPY', 'KWD'), anything),
            stock: whole(1_000_000_000),
            queueCap: whole(1_000_000),
            drainPerSecond: whole(10_000),
            opensAt: mostly(
              fc.date({ min: new Date('2090-01-01'), max: new Date('2099-01-01'), noInvalidDate: true }),
              anything,
            ),
            closesAt: mostly(
              fc.date({ min: new Date('2099-01-02'), max: new Date('2199-01-01'), noInvalidDate: true }),
              anything,
            ),
            holdSeconds: mostly(fc.constant(0), anything),
          },
          { requiredKeys: ['sku', 'name', 'unitPrice', 'currency', 'stock', 'queueCap', 'drainPerSecond'] },
        )
        .map((value) => JSON.stringify(value)),
    },
    { weight: 1, arbitrary: fc.json({ maxDepth: 4 }) },
  );
}

/** JSON texts of an order of the given user: valid, almost valid, and random. */
function bodies(): fc.Arbitrary<(userId: string) => string> {
  // Weighted so that about half of the orders are valid as a whole.
  const mostly = <T>(good: fc.Arbitrary<T>, ...bad: fc.Arbitrary<unknown>[]) =>
    fc.oneof({ weight: 20, arbitrary: good as fc.Arbitrary<unknown> }, { weight: 1, arbitrary: fc.oneof(...bad) });
  const anyText = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 300 }),
    fc.string({ unit: 'grapheme', maxLength: 80 }),
    fc.constantFrom(
      '\u0000',
      '\ud800',
      'a\udfff',
      '\u202e',
      '\ufffe',
      '😀'.repeat(33),
      "'; DROP TABLE orders; --",
      '\\u0000',
    ),
  );
  const anyNumber = fc.oneof(
    fc.double(),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.constantFrom(2 ** 53, -0, 1e308, 2 ** 31, 2 ** 63),
  );
  const anything = fc.oneof(fc.jsonValue({ maxDepth: 5 }), anyText, anyNumber, fc.constant(undefined));
  const printable = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 16 });

  const item = fc.record(
    {
      sku: mostly(printable, anyText, anything),
      name: mostly(fc.string({ unit: 'grapheme', maxLength: 40 }), anyText, anything),
      quantity: mostly(fc.integer({ min: 1, max: 1_000_000 }), anyNumber, anything),
      unitPrice: mostly(fc.integer({ min: 0, max: 1_000_000_000 }), anyNumber, anything),
    },
    { requiredKeys: ['sku', 'quantity', 'unitPrice'] },
  );
  const order = fc.record({
    userId: mostly(fc.constant('USER'), anyText, anything),
    currency: mostly(fc.constantFrom('GBP', 'JPY', 'KWD', 'CLF'), anyText, anything),
    items: mostly(fc.array(item, { minLength: 1, maxLength: 4 }), fc.array(anything, { maxLength: 3 }), anything),
  });
  const deep = fc.integer({ min: 1, max: 50_000 }).map((depth) => '['.repeat(depth) + ']'.repeat(depth));
  return fc.oneof(
    {
      weight: 16,
      arbitrary: order.map(
        (value) => (userId: string) => JSON.stringify({ ...value, ...(value.userId === 'USER' ? { userId } : {}) }),
      ),
    },
    { weight: 2, arbitrary: fc.json({ maxDepth: 6 }).map((text) => () => text) },
    { weight: 1, arbitrary: anyText.map((text) => () => text.toWellFormed()) },
    {
      weight: 1,
      arbitrary: deep.map((nested) => (userId: string) => `{"userId":"${userId}","currency":"GBP","items":${nested}}`),
    },
  );
}
