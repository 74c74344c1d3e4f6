// Places an order with the generated types: it compiles only if the document says what the routes take and send.
import type { operations } from './api.ts';

type Place = operations['placeOrder'];
type Order = Place['responses'][201]['content']['application/json'];
type Problem = Place['responses'][422]['content']['application/problem+json'];

export async function placeOrder(
  url: string,
  order: NonNullable<Place['requestBody']>['content']['application/json'],
): Promise<Order> {
  const response = await fetch(`${url}/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(order),
  });
  if (response.status === 422) throw new Error(((await response.json()) as Problem).title);
  return (await response.json()) as Order;
}

const { id, status, steps } = await placeOrder('http://127.0.0.1:3000', {
  userId: 'ada',
  currency: 'GBP',
  items: [{ sku: 'MUG', quantity: 3, unitPrice: 1999 }],
});
const isKnown: 'awaiting-payment' | 'placed' | 'completed' | 'cancelled' = status;
console.log(id.length, isKnown, steps.points.status);

// @ts-expect-error: an order has items.
await placeOrder('http://127.0.0.1:3000', { userId: 'ada', currency: 'GBP' });

export type Limit = NonNullable<operations['listOrders']['parameters']['query']>['limit'];
export const limit: Limit = 50;
