// The reply to placing an order: the listener in front of Express (front.ts) sends most of them, and the route (routes.ts)
// sends the same.
import type { IncomingMessage } from 'node:http';
import type { orderRoutes } from '../../contracts/routes/orders.ts';
import { type Reply, reply } from '../../infra/http/api.ts';
import { Problem } from '../../infra/http/problem.ts';
import { pathFor } from '../../infra/http/reverse-proxy.ts';
import type { PlaceResult } from './place-order.ts';

const keyReused = new Problem(422, 'idempotency-key-reused', {
  title: 'This Idempotency-Key belongs to another order',
  detail: 'The key was used before with another body. Use a new key for a new order.',
});

/** Throws the Problem of a key that was used before with another body. */
export function placedReply(request: IncomingMessage, result: PlaceResult): Reply<typeof orderRoutes.placeOrder> {
  if (result.outcome === 'key-reused') throw keyReused;
  const { outcome, order } = result;
  const location = { Location: pathFor(request, `/orders/${order.id}`) };
  if (outcome === 'placed') return reply(201, order, location);
  return reply(200, order, { ...location, 'Idempotency-Replayed': 'true' });
}
