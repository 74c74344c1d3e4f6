// The rules of the gate (bin/check-contracts.ts), each with a change that it must find and one that it must allow.
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { compareContracts } from '../../bin/contracts/compare-contracts.ts';
import { compareSchemas } from '../../bin/contracts/compare-schemas.ts';
import { contractSchemas } from '../../bin/contracts/contract-schemas.ts';
import { type Direction, type Rule, rules } from '../../bin/contracts/findings.ts';
import { type JsonSchema, toJsonSchema } from '../../bin/contracts/json-schema.ts';
import type { SourceRoute, Sources } from '../../bin/contracts/sources.ts';
import { eventSchemas } from '../../contracts/events.ts';
import { createFlashSaleRequest, ticket, ticketStatus } from '../../contracts/flash-sales.ts';
import { retryQuery } from '../../contracts/operations.ts';
import { cancelRequest, order, placeOrderRequest } from '../../contracts/orders.ts';
import { pageQuery } from '../../contracts/pages.ts';
import { problem } from '../../contracts/problems.ts';
import { integerText, text } from '../../contracts/text.ts';

/** `path rule` of each finding. */
const found = (baseline: JsonSchema, current: JsonSchema, direction: Direction) =>
  compareSchemas(baseline, current, direction).map(({ path, rule }) => `${path} ${rule}`.trim());

type Case = readonly [change: string, before: z.ZodType, after: z.ZodType, ...findings: `${string}${Rule}`[]];

const all = { id: z.uuid(), total: z.int().min(0), note: z.string().optional() };
const base = z.object(all);
const list = (item: z.ZodType) => z.object({ items: z.array(item) });
const status = (...values: string[]) => z.object({ status: z.enum(values) });
const of = (value: z.ZodType) => z.object({ value });
const paid = z.object({ kind: z.literal('paid'), by: z.string() });
const free = z.object({ kind: z.literal('free') });
const lent = z.object({ kind: z.literal('lent') });

const produced: readonly Case[] = [
  ['no change', base, base],
  ['a new optional field', base, base.extend({ currency: z.string().optional() })],
  ['a new field with a default', base, base.extend({ tax: z.int().default(0) })],
  ['a new optional field of an item', list(base), list(base.extend({ sku: z.string().optional() }))],
  [
    'a new optional field of a record',
    of(z.record(z.string(), free)),
    of(z.record(z.string(), free.extend({ at: z.string().optional() }))),
  ],
  [
    'a new optional field of an alternative',
    of(z.union([paid, free])),
    of(z.union([free, paid.extend({ at: z.string().optional() })])),
  ],
  ['a new description', base, base.extend({ total: z.int().min(0).describe('in minor units') })],
  ['another order of fields and values', status('a', 'b'), status('b', 'a')],
  ['a removed field', base, base.omit({ total: true }), 'total field-removed'],
  ['a removed optional field', base, base.omit({ note: true }), 'note field-removed'],
  ['a renamed field', base, base.omit({ total: true }).extend({ sum: z.int().optional() }), 'total field-removed'],
  ['a removed field of an item', list(base), list(base.omit({ id: true })), 'items[].id field-removed'],
  ['a new required field', base, base.extend({ currency: z.string() }), 'currency field-required'],
  ['an optional field that is required', base, base.required(), 'note field-required'],
  ['a required field that is optional', base, base.partial({ total: true }), 'total field-optional'],
  ['another type', base, base.extend({ total: z.string() }), 'total type'],
  ['a wider type', base, base.extend({ total: z.number() }), 'total type'],
  ['a narrower type', of(z.number()), of(z.int()), 'value type'],
  ['any type', of(z.string()), of(z.unknown()), 'value type'],
  ['null beside a value', base, base.extend({ total: z.int().min(0).nullable() }), 'total variant'],
  ['no null any more', of(z.string().nullable()), of(z.string()), 'value variant'],
  ['a new value', status('open', 'closed'), status('open', 'closed', 'paused'), 'status enum'],
  ['a removed value', status('open', 'closed'), status('open'), 'status enum'],
  ['any value', status('open'), z.object({ status: z.string() }), 'status enum'],
  ['a value that was a constant', of(z.literal('up')), of(z.enum(['up', 'down'])), 'value enum'],
  ['a higher limit', of(z.string().max(10)), of(z.string().max(20)), 'value limit'],
  ['a lower limit', of(z.string().max(10)), of(z.string().max(5)), 'value limit'],
  ['no pattern any more', of(z.string().regex(/^a/)), of(z.string()), 'value pattern'],
  ['another format', of(z.iso.datetime()), of(z.iso.date()), 'value pattern', 'value pattern'],
  ['a new alternative', of(z.union([paid, free])), of(z.union([paid, free, lent])), 'value variant'],
  ['a removed alternative', of(z.union([paid, free])), of(z.union([paid, lent])), 'value variant', 'value variant'],
  [
    'a change in an alternative',
    of(z.union([paid, free])),
    of(z.union([free, paid.omit({ by: true })])),
    'value.by field-removed',
  ],
  ['another default', of(z.int().default(0)), of(z.int().default(1)), 'value default'],
  ['no unknown fields any more', base, z.strictObject(all), 'unknown-fields'],
  [
    'a new field for readers that reject it',
    z.strictObject(all),
    z.strictObject({ ...all, more: z.string().optional() }),
    'more unknown-fields',
  ],
  [
    'another key of a record',
    of(z.record(z.enum(['a']), free)),
    of(z.record(z.enum(['a', 'b']), free)),
    'value.b field-required',
    'value{name} enum',
  ],
  [
    'another value of a record',
    of(z.record(z.string(), z.int())),
    of(z.record(z.string(), z.string())),
    'value{} type',
  ],
  ['another item of a tuple', of(z.tuple([z.string()])), of(z.tuple([z.int()])), 'value[0] type'],
  ['another refinement', of(z.string().refine(Boolean, 'is set')), of(z.string()), 'value refinement'],
];

const body = z.strictObject(all);
const accepted: readonly Case[] = [
  ['no change', body, body],
  ['a new optional field', body, body.extend({ currency: z.string().optional() })],
  ['a required field that is optional', body, body.partial()],
  ['a wider type', of(z.int()), of(z.number())],
  ['any type', of(z.string()), of(z.unknown())],
  ['null beside a value', of(z.string()), of(z.string().nullable())],
  ['null beside a value with a format', of(z.uuid()), of(z.uuid().nullish())],
  ['a new value', status('open'), status('open', 'closed')],
  ['any value', status('open'), z.object({ status: z.string() })],
  ['wider limits', of(z.string().min(1).max(10)), of(z.string().max(20))],
  ['wider limits of a number in a query', of(integerText(1, 200)), of(integerText(0, 500))],
  ['more items', of(z.array(z.string()).min(1).max(3)), of(z.array(z.string()).max(4))],
  ['a smaller step', of(z.int().multipleOf(10)), of(z.int().multipleOf(5))],
  ['no pattern any more', of(z.string().regex(/^a/)), of(z.string())],
  ['a new alternative', of(z.union([paid, free])), of(z.union([lent, free, paid]))],
  [
    'a new alternative by a discriminator',
    of(z.discriminatedUnion('kind', [paid, free])),
    of(z.discriminatedUnion('kind', [paid, free, lent])),
  ],
  ['alternatives in place of one', of(paid), of(z.union([paid, free]))],
  ['unknown fields', body, z.object(all)],
  ['one pattern less', of(z.string().regex(/^a/).regex(/b$/)), of(z.string().regex(/b$/))],
  ['no refinement any more', of(text(0, 5)), of(z.string().min(0).max(5))],
  ['a removed field', body, body.omit({ note: true }), 'note field-removed'],
  ['a renamed field', body, body.omit({ note: true }).extend({ remark: z.string().optional() }), 'note field-removed'],
  ['a new required field', body, body.extend({ currency: z.string() }), 'currency field-required'],
  ['an optional field that is required', body, body.required(), 'note field-required'],
  ['a narrower type', of(z.number()), of(z.int()), 'value type'],
  ['another type', body, body.extend({ total: z.string() }), 'total type'],
  ['no null any more', of(z.uuid().nullable()), of(z.uuid()), 'value variant'],
  ['a removed value', status('open', 'closed'), status('open'), 'status enum'],
  ['listed values only', of(z.string()), of(z.enum(['a'])), 'value enum'],
  ['a lower limit', of(z.string().max(10)), of(z.string().max(5)), 'value limit'],
  ['a higher minimum', of(z.int().min(0)), of(z.int().min(1)), 'value limit'],
  ['narrower limits of a number in a query', of(integerText(0, 500)), of(integerText(0, 200)), 'value limit'],
  ['fewer items', of(z.array(z.string()).max(4)), of(z.array(z.string()).max(3)), 'value limit'],
  ['another pattern', of(z.string().regex(/^a/)), of(z.string().regex(/^b/)), 'value pattern'],
  ['one pattern more', of(z.string().regex(/^a/)), of(z.string().regex(/^a/).regex(/b$/)), 'value pattern'],
  ['a removed alternative', of(z.union([paid, free])), of(z.union([paid, lent])), 'value variant'],
  ['another default', of(z.int().default(0)), of(z.int().default(1)), 'value default'],
  ['no unknown fields any more', z.object(all), body, 'unknown-fields'],
  ['a new refinement', of(z.string()), of(z.string().refine(Boolean, 'is set')), 'value refinement'],
  ['text that is parsed by a function', of(z.string()), of(z.string().transform(Number)), 'value unjudged'],
];

describe.each([
  ['an event or a response', 'produced', produced],
  ['a request', 'accepted', accepted],
] as const)('in %s', (_, direction, cases) => {
  test.for(cases)('%s', ([, before, after, ...findings]) => {
    expect(found(toJsonSchema(before), toJsonSchema(after), direction).sort()).toEqual([...findings].sort());
  });
});

const data = (type: 'order.placed' | 'order.cancelled', change: (fields: z.ZodObject) => z.ZodType) =>
  eventSchemas[type].extend({ data: change(eventSchemas[type].shape.data) });

describe('a change of the contracts', () => {
  const changes: readonly (readonly [string, Direction, z.ZodType, z.ZodType, ...string[]])[] = [
    ['an order without its currency', 'produced', order, order.omit({ currency: true }), 'currency field-removed'],
    [
      'a new status of a ticket',
      'produced',
      ticket,
      ticket.extend({ status: z.enum([...ticketStatus.options, 'lost']) }),
      'status enum',
    ],
    [
      'a new optional field of an event',
      'produced',
      eventSchemas['order.placed'],
      data('order.placed', (fields) => fields.extend({ channel: z.string().optional() })),
    ],
    [
      'an event that requires its reason',
      'produced',
      eventSchemas['order.cancelled'],
      data('order.cancelled', (fields) => fields.required({ reason: true })),
      'data.reason field-required',
    ],
    [
      'a cancellation that needs a reason',
      'accepted',
      cancelRequest,
      cancelRequest.required(),
      'reason field-required',
    ],
    [
      'an order of at most 100 items',
      'accepted',
      placeOrderRequest,
      placeOrderRequest.extend({ items: placeOrderRequest.shape.items.max(100) }),
      'items limit',
    ],
    [
      'another currency',
      'accepted',
      placeOrderRequest,
      placeOrderRequest.extend({ currency: z.enum(['EUR', 'GBP']) }),
      'currency enum',
    ],
    [
      'a page of at most 100 items',
      'accepted',
      pageQuery,
      pageQuery.extend({ limit: integerText(1, 100).default(50) }),
      'limit limit',
    ],
    [
      'another size of a page',
      'accepted',
      pageQuery,
      pageQuery.extend({ limit: integerText(1, 200).default(20) }),
      'limit default',
    ],
    [
      'a retry without its filter by error',
      'accepted',
      retryQuery,
      retryQuery.omit({ error: true }),
      'error field-removed',
    ],
    [
      'a longer hold by default',
      'accepted',
      createFlashSaleRequest,
      createFlashSaleRequest.safeExtend({ holdSeconds: z.int().min(0).max(86_400).default(60) }),
      'holdSeconds default',
    ],
    [
      'a longer hold',
      'accepted',
      createFlashSaleRequest,
      createFlashSaleRequest.safeExtend({ holdSeconds: z.int().min(0).max(100_000).default(0) }),
    ],
  ];
  test.for(changes)('%s', ([, direction, before, after, ...findings]) => {
    expect(found(toJsonSchema(before), toJsonSchema(after), direction)).toEqual(findings);
  });
});

describe('a schema as a document', () => {
  const tree = (leaf: JsonSchema) => ({
    $ref: '#/$defs/node',
    $defs: { node: { type: 'object', properties: { leaf, next: { $ref: '#/$defs/node' } } } },
  });

  test('is compared through its references, also to itself', () => {
    expect(found(tree({ type: 'string' }), tree({ type: 'string' }), 'produced')).toEqual([]);
    expect(found(tree({ type: 'string' }), tree({ type: 'integer' }), 'produced')).toEqual(['leaf type']);
  });

  test('may say the same in place of a reference', () => {
    const inPlace = { type: 'object', properties: { name: { type: 'string', maxLength: 5 } } };
    const byReference = {
      type: 'object',
      properties: { name: { $ref: '#/$defs/a~1b' } },
      $defs: { 'a/b': { type: 'string', maxLength: 5 } },
    };
    expect(found(inPlace, byReference, 'produced')).toEqual([]);
    expect(found(byReference, inPlace, 'accepted')).toEqual([]);
  });

  test('lists null among its types or as an alternative', () => {
    const nullable = { anyOf: [{ type: 'string', maxLength: 5 }, { type: 'null' }] };
    expect(found(nullable, { type: ['string', 'null'], maxLength: 5 }, 'produced')).toEqual([]);
  });

  test('reports a keyword that no rule knows', () => {
    const before = { type: 'object', patternProperties: { '^a': {} } };
    expect(found(before, before, 'accepted')).toEqual([]);
    expect(found(before, { type: 'object' }, 'accepted')).toEqual(['unjudged']);
  });

  test('may have alternatives of both kinds', () => {
    const either = (...values: number[]) => ({
      anyOf: [{ type: 'integer' }, { type: 'string' }],
      oneOf: [{ enum: values }],
    });
    expect(found(either(1), either(1), 'produced')).toEqual([]);
    expect(found(either(1, 2), either(1), 'accepted')).not.toEqual([]);
    expect(found(either(1), either(1, 2), 'produced')).not.toEqual([]);
  });

  test('reports alternatives of oneOf that may overlap', () => {
    const before = { oneOf: [{ type: 'string', maxLength: 2 }] };
    const after = { oneOf: [...before.oneOf, { type: 'string', pattern: '^a' }] };
    expect(found(before, after, 'accepted')).toEqual(['unjudged']);
  });

  test('fails if a reference has no target', () => {
    expect(() => found({ $ref: '#/$defs/gone' }, {}, 'produced')).toThrow('#/$defs/gone');
  });
});

describe('the contracts as a whole', () => {
  const route = (method: string, path: string, more: Partial<SourceRoute> = {}): SourceRoute => ({
    method,
    path,
    request: {},
    responses: { 200: base },
    ...more,
  });
  const sources: Sources = {
    events: { 'order.placed': eventSchemas['order.placed'], 'order.cancelled': eventSchemas['order.cancelled'] },
    routes: [route('GET', '/orders/:id'), route('POST', '/orders', { request: { body }, responses: { 201: base } })],
    problem,
  };
  const changes: readonly (readonly [string, Partial<Sources>, ...string[]])[] = [
    ['no change', {}],
    ['another event type', { events: { ...sources.events, 'order.refunded': base } }],
    ['another route', { routes: [...sources.routes, route('DELETE', '/orders/:id')] }],
    ['another name of a parameter', { routes: [route('GET', '/orders/:orderId'), ...sources.routes.slice(1)] }],
    [
      'another error status',
      { routes: [route('GET', '/orders/:id', { responses: { 200: base, 404: problem } }), ...sources.routes.slice(1)] },
    ],
    [
      'an optional query',
      { routes: [route('GET', '/orders/:id', { request: { query: pageQuery } }), ...sources.routes.slice(1)] },
    ],
    [
      'one event type less',
      { events: { 'order.placed': eventSchemas['order.placed'] } },
      'event order.cancelled: event-removed',
    ],
    ['one route less', { routes: sources.routes.slice(1) }, 'GET /orders/{}: route-removed'],
    [
      'another method',
      { routes: [route('PUT', '/orders/:id'), ...sources.routes.slice(1)] },
      'GET /orders/{}: route-removed',
    ],
    [
      'another status of success',
      {
        routes: [
          route('GET', '/orders/:id'),
          route('POST', '/orders', { request: { body }, responses: { 202: base } }),
        ],
      },
      'response of POST /orders 201: status-removed',
      'response of POST /orders 202: status-added',
    ],
    [
      'a query that is required',
      {
        routes: [
          route('GET', '/orders/:id', { request: { query: z.strictObject({ userId: z.string() }) } }),
          ...sources.routes.slice(1),
        ],
      },
      'query of GET /orders/{}: field-required',
    ],
    [
      'no body any more',
      { routes: [route('GET', '/orders/:id'), route('POST', '/orders', { responses: { 201: base } })] },
      'body of POST /orders: field-removed',
      'body of POST /orders: field-removed',
      'body of POST /orders: field-removed',
    ],
    ['problems without a title', { problem: problem.omit({ title: true }) }, 'error responses: field-removed'],
  ];
  test.for(changes)('%s', ([, change, ...findings]) => {
    const after = contractSchemas({ ...sources, ...change });
    const list = compareContracts(contractSchemas(sources), after).map(({ subject, rule }) => `${subject}: ${rule}`);
    expect(list).toEqual(findings);
  });
});

test('each rule has a change that it must find', () => {
  const elsewhere: Rule[] = ['event-removed', 'route-removed', 'status-removed', 'status-added'];
  const byRecording: Rule[] = ['unreadable', 'meaning']; // recorded-contracts.test.ts
  const shown = [...produced, ...accepted].flatMap(([, , , ...findings]) =>
    findings.map((each) => each.split(' ').at(-1)),
  );
  expect(new Set([...shown, ...elsewhere, ...byRecording])).toEqual(new Set(Object.keys(rules)));
});
