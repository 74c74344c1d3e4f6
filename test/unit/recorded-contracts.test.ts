// Recorded events and answers, as the gate (bin/check-contracts.ts) reads them by changed schemas. Those of
// test/fixtures/baseline are read by `npm run check`.
import { expect, test } from 'vitest';
import { z } from 'zod';
import { baselineFolder, readBaseline } from '../../bin/contracts/baseline.ts';
import { contractSchemas, printed, routeKey } from '../../bin/contracts/contract-schemas.ts';
import { compareRecorded, missingIn, parsedSamples, type Recorded, samplesOf } from '../../bin/contracts/recorded.ts';
import { sources as currentSources, type Sources } from '../../bin/contracts/sources.ts';
import { problem } from '../../contracts/problems.ts';
import { integerText } from '../../contracts/text.ts';

const envelope = z.object({ type: z.literal('order.placed'), data: z.object({ total: z.int(), by: z.string() }) });
const order = z.object({ id: z.string(), items: z.array(z.object({ sku: z.string() })) });
const body = z.strictObject({ sku: z.string() });
const query = z.strictObject({ limit: integerText(1, 200).default(50) });
const route = { method: 'POST', path: '/orders/:id', request: { body, query }, responses: { 200: order } };
const sources: Sources = { events: { 'order.placed': envelope }, routes: [route], problem };

const json = { 'content-type': 'application/json; charset=utf-8' };
const call = (sent: string) => ({ method: 'POST', path: '/orders/1?limit=5', headers: json, body: sent });
const recorded: Recorded = {
  events: new Map([['order.placed-1', { type: 'order.placed', data: { total: 5, by: 'ann' } }]]),
  answers: new Map([
    [
      'placed',
      { request: call('{"sku":"MUG"}'), status: 200, headers: json, body: { id: 'A', items: [{ sku: 'MUG' }] } },
    ],
    [
      'invalid',
      {
        request: call('{"colour":"red"}'),
        status: 422,
        headers: { 'content-type': 'application/problem+json' },
        body: { type: '/problems/invalid', title: 'Invalid field', status: 422 },
      },
    ],
  ]),
};
const parsed = parsedSamples(samplesOf(sources, recorded));

test('has the meaning of events, of accepted requests, and of all responses', () => {
  expect(parsed).toEqual({
    'event order.placed-1': { type: 'order.placed', data: { total: 5, by: 'ann' } },
    'response placed': { id: 'A', items: [{ sku: 'MUG' }] },
    'body of placed': { sku: 'MUG' },
    'query of placed': { limit: 5 },
    'response invalid': { type: '/problems/invalid', title: 'Invalid field', status: 422 },
  });
});

const withOrder = (response: z.ZodType): Partial<Sources> => ({ routes: [{ ...route, responses: { 200: response } }] });
const withData = (data: z.ZodType): Partial<Sources> => ({ events: { 'order.placed': envelope.extend({ data }) } });
const { data } = envelope.shape;

test.for<readonly [string, Partial<Sources>, ...string[]]>([
  ['no change', {}],
  ['a new field with a default', withData(data.extend({ tax: z.int().default(0) }))],
  ['a new optional field', withOrder(order.extend({ note: z.string().optional() }))],
  ['an event type less', { events: {} }, 'event order.placed-1:  unreadable'],
  [
    'a new required field',
    withData(data.required().extend({ tax: z.int() })),
    'event order.placed-1: data.tax unreadable',
  ],
  ['a narrower limit', withData(data.extend({ total: z.int().max(4) })), 'event order.placed-1: data.total unreadable'],
  ['a field that is dropped', withData(data.omit({ by: true })), 'event order.placed-1: data.by meaning'],
  [
    'a field that is read otherwise',
    withOrder(order.extend({ id: z.string().toLowerCase() })),
    'response placed: id meaning',
  ],
  [
    'a field of an item that is dropped',
    withOrder(order.extend({ items: z.array(z.object({})) })),
    'response placed: items[0].sku meaning',
  ],
  [
    'a request that is rejected now',
    { routes: [{ ...route, request: { query, body: z.strictObject({ code: z.string() }) } }] },
    'body of placed: code unreadable',
    'body of placed:  unreadable',
  ],
  [
    'another unit of a query',
    { routes: [{ ...route, request: { body, query: z.strictObject({ limit: z.string() }) } }] },
    'query of placed: limit meaning',
  ],
  ['a problem without its title', { problem: problem.omit({ title: true }) }, 'response invalid: title meaning'],
])('%s', ([, change, ...findings]) => {
  const found = compareRecorded(samplesOf({ ...sources, ...change }, recorded), parsed);
  expect(found.map(({ subject, path, rule }) => `${subject.replace('recorded ', '')}: ${path} ${rule}`)).toEqual(
    findings,
  );
});

test('names the event types and answers that were not recorded', () => {
  expect(missingIn(sources, recorded)).toEqual([]);
  const more: Sources = {
    ...sources,
    events: { ...sources.events, 'order.cancelled': envelope },
    routes: [...sources.routes, { ...route, path: '/orders', responses: { 201: order, 404: problem } }],
  };
  expect(missingIn(more, recorded)).toEqual(['order.cancelled', 'POST /orders 201']);
});

test('the baseline has an event of each type and an answer of each route', async () => {
  const { schemas, recorded: ofBaseline } = await readBaseline(baselineFolder);
  const types = [...ofBaseline.events.values()].map((event) => z.object({ type: z.string() }).parse(event).type);
  expect([...new Set(types)].sort()).toEqual(Object.keys(schemas.events).sort());
  const stillThere = currentSources.routes.filter((each) => schemas.routes[routeKey(each)]);
  expect(missingIn({ ...currentSources, events: {}, routes: stillThere }, ofBaseline)).toEqual([]);
});

test('is written with a line for each schema, and read back unchanged', () => {
  const text = printed(contractSchemas(currentSources));
  expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(contractSchemas(currentSources))));
  const schemas = Object.values(contractSchemas(currentSources).routes).flatMap(({ request, responses }) => [
    ...Object.keys(request),
    ...Object.keys(responses),
  ]);
  expect(text.split('\n').length).toBeGreaterThan(schemas.length);
});
