// A thin client of the HTTP API. It parses every response with its schema, and leaves the rest to the tests.
import { randomUUID } from 'node:crypto';
import { request } from 'undici';
import type { Order, OrderItem } from '../../../contracts/orders.ts';
import type { Page } from '../../../contracts/pages.ts';
import { parseResponse } from '../../setup/response.ts';
import { eventually } from '../../setup/wait.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The body of a JSON response. `call` has parsed it with the schema of its route; `T` is the type of that schema. */
  json<T>(): T;
}

export interface Call {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'PATCH';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

export async function call(url: string, { method = 'GET', headers = {}, body }: Call = {}): Promise<Answer> {
  // On a new connection: the server may close a kept one at the moment of its next use.
  const answer = await request(url, { method, headers, reset: true, ...(body === undefined ? {} : { body }) });
  const text = await answer.body.text();
  const { statusCode: status, headers: received } = answer;
  const contentType = received['content-type']?.toString();
  const parsed = parseResponse({ method, url, status, contentType, text });
  const json = <T>(): T => {
    if (parsed === undefined) throw new Error(`${method} ${url}: ${status} ${contentType} is no JSON: ${text}`);
    return parsed as T;
  };
  return { status, headers: received, text, json };
}

export const postJson = (url: string, body: unknown, headers: Readonly<Record<string, string>> = {}) =>
  call(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });

export const get = async <T>(url: string): Promise<T> => {
  const answer = await call(url);
  if (answer.status !== 200) throw new Error(`GET ${url}: ${answer.status} ${answer.text}`);
  return answer.json<T>();
};

/** A user that no other test uses. */
export const freshUser = () => `user-${randomUUID()}`;

/** 59.97 GBP: 59 points and a coupon of 2.99. */
export const mugs: readonly OrderItem[] = [{ sku: 'MUG', name: 'Mug', quantity: 3, unitPrice: 1_999 }];

export const orderOf = (userId: string, items: readonly OrderItem[] = mugs) => ({ userId, currency: 'GBP', items });

export async function placeOrder(url: string, userId: string, items = mugs): Promise<Order> {
  const answer = await postJson(`${url}/orders`, orderOf(userId, items));
  if (answer.status !== 201) throw new Error(`POST /orders: ${answer.status} ${answer.text}`);
  return answer.json<Order>();
}

export const completed = (url: string, id: string): Promise<Order> =>
  eventually(
    async () => {
      const order = await get<Order>(`${url}/orders/${id}`);
      return order.status === 'completed' && order;
    },
    { what: `order ${id} is completed`, timeoutMs: 20_000 },
  );

/** The items of each page of a list. `url` has no cursor. */
export async function pages<Item>(url: string): Promise<(readonly Item[])[]> {
  const all: (readonly Item[])[] = [];
  for (let after: string | null | undefined; after !== null; ) {
    const cursor = after === undefined ? '' : `${url.includes('?') ? '&' : '?'}after=${after}`;
    const page: Page<Item> = await get<Page<Item>>(`${url}${cursor}`);
    all.push(page.items);
    after = page.next;
  }
  return all;
}
