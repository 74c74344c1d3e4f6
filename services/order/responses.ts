// The HTTP response to placing an order, written without Express: the listener in front of it (front.ts) sends most of
// them, and the route (routes.ts) sends the same.
import type { ServerResponse } from 'node:http';
import { Problem, sendJson } from '../../infra/http/problem.ts';
import { pathFor } from '../../infra/http/reverse-proxy.ts';
import type { PlaceResult } from './place-order.ts';

const keyReused = new Problem(422, 'idempotency-key-reused', {
  title: 'This Idempotency-Key belongs to another order',
  detail: 'The key was used before with another body. Use a new key for a new order.',
});

export function sendPlaced(response: ServerResponse, result: PlaceResult): void {
  if (result.outcome === 'key-reused') {
    keyReused.send(response);
    return;
  }
  const { outcome, order } = result;
  const location = { Location: pathFor(response.req, `/orders/${order.id}`) };
  if (outcome === 'placed') sendJson(response, 201, order, location);
  else sendJson(response, 200, order, { ...location, 'Idempotency-Replayed': 'true' });
}
