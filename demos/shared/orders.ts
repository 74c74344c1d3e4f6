// The order service as the commands meet it, over HTTP.
import { z } from 'zod';
import {
  type Order,
  type OrderItem,
  type PlaceOrderRequest,
  placeOrderRequest,
  stepNames,
} from '../../contracts/orders.ts';
import { instant, uuid } from '../../contracts/text.ts';
import { expectBody, type HttpAnswer, type HttpClient, NoAnswer, problemOf } from './http.ts';

/** 59.97, so that there are points and a coupon (from 50 on). */
export const mugs: readonly OrderItem[] = [{ sku: 'MUG', name: 'Mug', quantity: 3, unitPrice: 1_999 }];

/** One item of an order, as the contract bounds it. */
export const orderItem = placeOrderRequest.shape.items.element;

/** What the commands rely on in an answer: enough to tell an order from something else. */
const answeredOrder = z.looseObject({
  id: uuid,
  status: z.string(),
  createdAt: instant,
  items: z.array(z.unknown()),
  steps: z.record(z.enum(stepNames), z.looseObject({ status: z.string(), at: instant.optional() })),
}) as unknown as z.ZodType<Order>;

export interface Placed {
  readonly kind: 'placed';
  readonly order: Order;
  /** It was there already: an earlier request under the same key had placed it. */
  readonly replayed: boolean;
  readonly ms: number;
}

/** The order as such is not acceptable; asking again changes nothing. */
export interface RejectedOrder {
  readonly kind: 'rejected';
  readonly title: string;
  readonly detail: string;
}

/** Not now: asking again under the same key is safe, and may succeed. */
export interface Unavailable {
  readonly kind: 'unavailable';
  readonly reason: string;
  /** Nobody knows whether the order was placed. */
  readonly unknown: boolean;
  readonly retryAfterMs: number | undefined;
}

/** Statuses below 500 that speak of the moment, not of the order. */
const TEMPORARY = new Set([408, 425, 429]);

/** Asks once. Rejects when `signal` aborts, and where what answers is not Sluice. */
export async function placeOrder(
  http: HttpClient,
  body: PlaceOrderRequest,
  { key, signal }: { key: string; signal: AbortSignal },
): Promise<Placed | RejectedOrder | Unavailable> {
  let answer: HttpAnswer;
  try {
    answer = await http.request('POST', '/orders', { json: body, headers: { 'idempotency-key': key }, signal });
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    return { kind: 'unavailable', reason: error.message, unknown: error.sent, retryAfterMs: undefined };
  }
  const { status, headers, ms } = answer;
  if (status === 200 || status === 201)
    return {
      kind: 'placed',
      order: expectBody(answer, { status, schema: answeredOrder, about: 'the order' }),
      replayed: headers['idempotency-replayed'] === 'true',
      ms,
    };
  const { title, detail } = problemOf(answer);
  if (status >= 500 || TEMPORARY.has(status))
    return {
      kind: 'unavailable',
      reason: `${status} ${title}`,
      unknown: status !== 429,
      retryAfterMs: retryAfterOf(headers['retry-after']),
    };
  return { kind: 'rejected', title, detail };
}

/** The order as it is now. Rejects with a CliError where there is no answer or not this one. */
export async function readOrder(http: HttpClient, id: string, signal: AbortSignal): Promise<Order> {
  const answer = await http.request('GET', `/orders/${id}`, { signal });
  return expectBody(answer, { status: 200, schema: answeredOrder, about: `order ${id}` });
}

/** Only whole seconds: Sluice sends no dates. */
const retryAfterOf = (header: string | undefined): number | undefined =>
  header !== undefined && /^\d{1,6}$/.test(header) ? Number(header) * 1_000 : undefined;

/** Milliseconds from the order's acceptance to `at`, both by the database's clock. */
export const sinceAcceptance = (order: Order, at: string): number => Date.parse(at) - Date.parse(order.createdAt);

/** How long after its acceptance a completed order's last step was done. */
export function completedAfterMs(order: Order): number {
  return Math.max(0, ...stepNames.map((name) => sinceAcceptance(order, order.steps[name].at ?? order.createdAt)));
}
