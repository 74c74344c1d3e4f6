// The tests' HTTP client: it parses every response as its route declares it (contracts/routes).
import { randomUUID } from 'node:crypto';
import { type Dispatcher, request } from 'undici';
import type { z } from 'zod';
import type { Readiness } from '../../contracts/operations.ts';
import type { Order, OrderItem } from '../../contracts/orders.ts';
import type { Page } from '../../contracts/pages.ts';
import type { ProblemName } from '../../contracts/problems.ts';
import { parseExactly, parseResponse } from './response.ts';
import * as schemas from './schemas.ts';
import { eventually } from './wait.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The parsed body; undefined for a page. */
  readonly body: unknown;
  /** The body as this schema's type. Throws if the body does not match the schema exactly. */
  json<T>(schema: z.ZodType<T>): T;
}

export interface Call {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'PATCH';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** The time limit for each wait for more data. Default 300 s. */
  readonly timeoutMs?: number;
  /** Keeps connections. Default: each call has its own, because a server may close a kept one when it is used again. */
  readonly dispatcher?: Dispatcher;
  /** Problems that the route need not declare, because the test made the system faulty. */
  readonly tolerated?: readonly ProblemName[];
}

/** Rejects without a response, and if the response does not match its schema. */
export async function call(url: string, options: Call = {}): Promise<Answer> {
  return parsed(await send(url, options), options);
}

/** Undefined: there is no response, so the outcome is unknown. Rejects if a response does not match its schema. */
export async function tryCall(url: string, options: Call = {}): Promise<Answer | undefined> {
  const response = await send(url, options).catch(() => undefined);
  return response && parsed(response, options);
}

type Sent = Awaited<ReturnType<typeof send>>;

async function send(url: string, { method = 'GET', headers = {}, body, timeoutMs, dispatcher }: Call) {
  const response = await request(url, {
    method,
    headers,
    ...(body === undefined ? {} : { body }),
    ...(timeoutMs === undefined ? {} : { headersTimeout: timeoutMs, bodyTimeout: timeoutMs }),
    ...(dispatcher === undefined ? { reset: true } : { dispatcher }),
  });
  return { method, url, status: response.statusCode, headers: response.headers, text: await response.body.text() };
}

function parsed({ method, url, status, headers, text }: Sent, { tolerated = [] }: Call): Answer {
  const contentType = headers['content-type']?.toString();
  const body = parseResponse({ method, url, status, contentType, text, tolerated });
  const json = <T>(schema: z.ZodType<T>): T => parseExactly(schema, body, `${method} ${url}: ${status} ${contentType}`);
  return { status, headers, text, body, json };
}

export const jsonRequest = (body: unknown, headers: Readonly<Record<string, string>> = {}) =>
  ({
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  }) as const;

export const postJson = (url: string, body: unknown, headers?: Readonly<Record<string, string>>) =>
  call(url, jsonRequest(body, headers));

/** Rejects unless the status is 200. */
export async function get<T>(url: string, schema: z.ZodType<T>): Promise<T> {
  const answer = await call(url);
  if (answer.status !== 200) throw new Error(`GET ${url}: ${answer.status} ${answer.text}`);
  return answer.json(schema);
}

/** With any status, because a 503 has the same body. */
export const readReadiness = async (url: string): Promise<Readiness> =>
  (await call(`${url}/readyz`)).json(schemas.readiness);

export const readMetrics = async (url: string): Promise<string> => (await call(`${url}/metrics`)).text;

/** A user that no other test uses. */
export const freshUser = () => `user-${randomUUID()}`;

/** 59.97 GBP: 59 points and a coupon of 2.99. */
export const mugs: readonly OrderItem[] = [{ sku: 'MUG', name: 'Mug', quantity: 3, unitPrice: 1_999 }];

export const orderOf = (userId: string, items: readonly OrderItem[] = mugs) => ({ userId, currency: 'GBP', items });

export async function placeOrder(url: string, userId: string, items = mugs): Promise<Order> {
  const answer = await postJson(`${url}/orders`, orderOf(userId, items));
  if (answer.status !== 201) throw new Error(`POST /orders: ${answer.status} ${answer.text}`);
  return answer.json(schemas.order);
}

export const readOrder = (url: string, id: string): Promise<Order> => get(`${url}/orders/${id}`, schemas.order);

export const completed = (url: string, id: string): Promise<Order> =>
  eventually(
    async () => {
      const order = await readOrder(url, id);
      return order.status === 'completed' && order;
    },
    { what: `order ${id} is completed`, timeoutMs: 20_000 },
  );

/** The items of each page of a list. `url` has no cursor; `schema` is that of a page. */
export async function pages<Item>(url: string, schema: z.ZodType<Page<Item>>): Promise<(readonly Item[])[]> {
  const all: (readonly Item[])[] = [];
  for (let after: string | null | undefined; after !== null; ) {
    const cursor = after === undefined ? '' : `${url.includes('?') ? '&' : '?'}after=${after}`;
    const page: Page<Item> = await get(`${url}${cursor}`, schema);
    all.push(page.items);
    after = page.next;
  }
  return all;
}
