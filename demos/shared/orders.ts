// A client of the order service.
import { type Order, type OrderItem, type PlaceOrderRequest, stepNames } from '../../contracts/orders.ts';
import { bodyOf, type HttpClient, type HttpResponse, NoResponse, problemOf } from './http.ts';

/** 59.97 GBP: enough for points and for a coupon (from 50 GBP). */
export const mugs: readonly OrderItem[] = [{ sku: 'MUG', name: 'Mug', quantity: 3, unitPrice: 1_999 }];

/** `replayed`: an earlier request with the same key had placed the order. */
export type Placed = { kind: 'placed'; order: Order; replayed: boolean; ms: number };
/** The order is not acceptable; retrying does not help. */
type RejectedOrder = { kind: 'rejected'; title: string; detail: string };
/**
 * The server cannot take the order now. Retrying with the same key is safe, and may succeed. `unknown`: it may have
 * placed the order.
 */
type Unavailable = { kind: 'unavailable'; reason: string; unknown: boolean; retryAfterMs: number | undefined };

/** Statuses below 500 that do not depend on the order, so that a retry may succeed. */
const TEMPORARY = new Set([408, 425, 429]);

/** Sends the request once. Rejects when `signal` aborts, and if the server is not Sluice. */
export async function placeOrder(
  http: HttpClient,
  body: PlaceOrderRequest,
  { key, signal }: { key: string; signal: AbortSignal },
): Promise<Placed | RejectedOrder | Unavailable> {
  let response: HttpResponse<'POST /orders'>;
  try {
    response = await http.call('POST /orders', { body, idempotencyKey: key }, { signal });
  } catch (error) {
    if (!(error instanceof NoResponse)) throw error;
    return { kind: 'unavailable', reason: error.message, unknown: error.sent, retryAfterMs: undefined };
  }
  const { status, headers, ms } = response;
  if (status === 200 || status === 201)
    return {
      kind: 'placed',
      order: bodyOf(response, status, 'the order'),
      replayed: headers['idempotency-replayed'] === 'true',
      ms,
    };
  const { title, detail } = problemOf(response);
  if (status >= 500 || TEMPORARY.has(status))
    return {
      kind: 'unavailable',
      reason: `${status} ${title}`,
      unknown: status !== 429,
      retryAfterMs: retryAfterOf(headers['retry-after']),
    };
  return { kind: 'rejected', title, detail };
}

/** Rejects with a CliError if the server does not respond with the order. */
export const readOrder = (http: HttpClient, id: string, signal: AbortSignal): Promise<Order> =>
  http.read('GET /orders/:id', { params: { id } }, { about: `order ${id}`, signal });

/** The milliseconds of a Retry-After in whole seconds; Sluice sends no dates. */
export const retryAfterOf = (header: unknown): number | undefined =>
  typeof header === 'string' && /^\d{1,6}$/.test(header) ? Number(header) * 1_000 : undefined;

/** Milliseconds from the order's acceptance to `at`, both by the database's clock. */
export const sinceAcceptance = (order: Order, at: string): number => Date.parse(at) - Date.parse(order.createdAt);

/** From a completed order's acceptance to the end of its last step, in milliseconds. */
export function completedAfterMs(order: Order): number {
  return Math.max(0, ...stepNames.map((name) => sinceAcceptance(order, order.steps[name].at ?? order.createdAt)));
}
