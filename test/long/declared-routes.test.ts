// Requests that are built from the declarations of the routes: valid ones, and ones that are broken in one place. No
// request gets a 500 or a response that its route does not declare: the tests' client checks each one.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { openApiOf } from '../../app/documents/openapi.ts';
import { routesOf } from '../../contracts/routes/index.ts';
import type { Route } from '../../contracts/routes/route.ts';
import { serviceNames } from '../../contracts/services.ts';
import { buy, createSale, ticketOf } from '../service/support/flash-sales.ts';
import { embedded, type System } from '../service/support/systems.ts';
import { call, completed, freshUser, placeOrder } from '../setup/api.ts';
import { arbitraryOf } from '../setup/json-schema-arbitrary.ts';

/** Requests to each route. */
const RUNS = 25;

const routes = Object.entries(routesOf());
const schemaOf = (schema: z.ZodType) => z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });

let system: System;
let url: string;
/** Values of path parameters that exist, by name. */
let existing: Readonly<Record<string, string>>;

beforeAll(async () => {
  system = await embedded.start();
  url = system.url('order');
  const userId = freshUser();
  const order = await completed(url, (await placeOrder(url, userId)).id);
  const sale = await createSale(url, { stock: 3, queueCap: 3, drainPerSecond: 1 });
  const { ticketId } = ticketOf(await buy(url, sale.id, userId));
  existing = { userId, orderId: order.id, order: order.id, 'flash sale': sale.id, ticketId, service: 'points' };
}, 60_000);
afterAll(() => system?.remove());

interface Sent {
  readonly path: string;
  readonly query: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

const headerValue = fc.stringMatching(/^[\x21-\x7e]{1,40}$/);
const queryText = (query: object) =>
  new URLSearchParams(Object.entries(query).map(([name, value]): [string, string] => [name, String(value)])).toString();

/** Path parameters that exist, that have the right form, or that have any form. */
const pathOf = ({ path, params = {} }: Route) =>
  fc
    .record(
      Object.fromEntries(
        Object.entries(params).map(([name, { schema, what }]) => [
          name,
          fc.oneof(
            { weight: 3, arbitrary: fc.constant(existing[name] ?? existing[what]) },
            { weight: 1, arbitrary: arbitraryOf(schemaOf(schema)).map(String) },
            { weight: 1, arbitrary: fc.string({ minLength: 1, maxLength: 80, unit: 'binary' }) },
          ),
        ]),
      ),
    )
    .map((values: Record<string, string | undefined>) =>
      path.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent((values[name] ?? 'x').toWellFormed())),
    );

/** Mostly of the declared form; otherwise any JSON, or any text. */
const bodyOf = ({ method, body }: Route) => {
  if (method === 'get') return fc.constant(undefined);
  const valid = body ? arbitraryOf(schemaOf(body.schema)) : fc.constant({});
  return fc.oneof(
    { weight: 4, arbitrary: valid.map((value) => JSON.stringify(value)) },
    { weight: 1, arbitrary: fc.json() },
    { weight: 1, arbitrary: fc.string({ maxLength: 200 }) },
    { weight: 1, arbitrary: fc.constant(undefined) },
  );
};

const headersOf = (hasBody: boolean) =>
  fc.record(
    {
      'content-type': hasBody
        ? fc.oneof(
            { weight: 6, arbitrary: fc.constant('application/json') },
            { weight: 1, arbitrary: fc.constantFrom('application/x-www-form-urlencoded', 'text/plain', 'x') },
          )
        : fc.constant('application/json'),
      accept: fc.constantFrom('application/json', 'text/html', '*/*'),
      'idempotency-key': headerValue,
    },
    { requiredKeys: ['content-type'] },
  );

const queryOf = ({ query }: Route) =>
  query
    ? fc.oneof(
        { weight: 4, arbitrary: arbitraryOf(schemaOf(query)) as fc.Arbitrary<Record<string, unknown>> },
        { weight: 1, arbitrary: fc.dictionary(fc.string({ maxLength: 10 }), fc.string({ maxLength: 10 })) },
      )
    : fc.constant({});

const requestTo = (route: Route): fc.Arbitrary<Sent> =>
  bodyOf(route).chain((body) =>
    fc.record({
      path: pathOf(route),
      query: queryOf(route),
      headers: headersOf(body !== undefined) as fc.Arbitrary<Record<string, string>>,
      body: fc.constant(body),
    }),
  );

describe.for(routes)('%s', ([, route]) => {
  const method = route.method.toUpperCase() as 'GET' | 'POST';
  test('responds to any request as it declares', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(requestTo(route), async ({ path, query, headers, body }) => {
        const search = queryText(query);
        const sent = { method, headers, ...(body === undefined ? {} : { body }) };
        const { status } = await call(`${url}${path}${search && `?${search}`}`, sent);
        expect(status).not.toBe(500);
      }),
      { numRuns: RUNS },
    );
  });
});

describe('the examples of the OpenAPI document', () => {
  const operations = Object.entries(openApiOf(serviceNames).paths ?? {}).flatMap(([path, methods]) =>
    Object.values(methods as Record<string, { operationId: string; requestBody?: { content: object } }>).flatMap(
      ({ operationId, requestBody }) => {
        const media = Object.entries(requestBody?.content ?? {}) as [string, { example?: object }][];
        return media.flatMap(([type, { example }]) => (example ? [[operationId, type, path, example] as const] : []));
      },
    ),
  );

  test('belong to the requests that change something', () => {
    expect(operations.map(([operationId]) => operationId)).toEqual(
      expect.arrayContaining(['placeOrder', 'createFlashSale', 'buy', 'cancelOrder', 'discardFailedMessage']),
    );
  });

  // There is no failed message to discard here.
  test.for(operations.filter(([operationId]) => operationId !== 'discardFailedMessage'))(
    'the one of %s as %s is accepted',
    async ([operationId, type, path, example]) => {
      // The requests above may have bought all units of their sale.
      const whats = { id: operationId === 'buy' ? (await createSale(url)).id : existing.order };
      const target = path.replaceAll(/\{(\w+)\}/g, (_, name: 'id') => whats[name] ?? '');
      const body = type.includes('json') ? JSON.stringify(example) : queryText(example);
      const { status } = await call(`${url}${target}`, { method: 'POST', headers: { 'content-type': type }, body });
      expect(status).toBeGreaterThanOrEqual(200);
      expect(status).toBeLessThan(300);
    },
  );
});
