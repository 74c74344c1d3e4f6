// How the tests check responses: see test/setup/response.ts.
import { expect, test } from 'vitest';
import { parseExactly, parseResponse, type ReceivedResponse } from '../setup/response.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually } from '../setup/wait.ts';

const json = 'application/json; charset=utf-8';
const problemJson = 'application/problem+json; charset=utf-8';
const responseOf = (body: unknown, changes: Partial<ReceivedResponse> = {}): ReceivedResponse => ({
  method: 'GET',
  url: 'http://127.0.0.1:3000/healthz?x=y',
  status: 200,
  contentType: json,
  text: typeof body === 'string' ? body : JSON.stringify(body),
  ...changes,
});
const health = { status: 'up', stalled: [] };
const notFound = { type: '/problems/not-found', title: 'There is no such resource', status: 404 };

test('accepts a response that matches its schema, and any page', () => {
  expect(parseResponse(responseOf(health))).toEqual(health);
  expect(parseResponse(responseOf(notFound, { status: 404, contentType: problemJson }))).toEqual(notFound);
  expect(parseResponse(responseOf('<p>', { contentType: 'text/html; charset=utf-8' }))).toBeUndefined();
});

test.each<[string, ReceivedResponse, RegExp]>([
  ['an undeclared field', responseOf({ ...health, uptime: 1 }), /does not declare/],
  ['a missing field', responseOf({ status: 'up' }), /does not match its schema/],
  [
    'an undeclared field of a problem',
    responseOf({ ...notFound, stack: '' }, { status: 404, contentType: problemJson }),
    /does not declare/,
  ],
  ['a route without a schema', responseOf({}, { url: 'http://127.0.0.1:3000/health' }), /has no schema/],
  ['a method without a schema', responseOf({}, { method: 'PUT' }), /has no schema/],
  ['a status without a schema', responseOf(health, { status: 202 }), /has no schema/],
  [
    'an error that is not sent as a problem',
    responseOf(notFound, { status: 404 }),
    /is not application\/problem\+json/,
  ],
  ['a body without a media type', responseOf(health, { contentType: undefined }), /is not application\/json/],
])('rejects %s', (_, response, message) => {
  expect(() => parseResponse(response)).toThrow(message);
});

test('reads a body only with a schema that declares all of its fields', () => {
  expect(parseExactly(schemas.health, health, 'it')).toEqual(health);
  expect(() => parseExactly(schemas.health.omit({ stalled: true }), health, 'it')).toThrow(/^it has fields that/);
  expect(() => parseExactly(schemas.problem, health, 'it')).toThrow(/^it does not match its schema/);
});

test('ends a wait at once, because no later response makes a wrong one right', async () => {
  let calls = 0;
  const waiting = eventually(() => parseExactly(schemas.problem, { calls: ++calls }, 'it'), { what: 'never' });
  await expect(waiting).rejects.toThrow(/^it does not match its schema/);
  expect(calls).toBe(1);
});
