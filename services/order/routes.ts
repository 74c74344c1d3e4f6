import type { Router } from 'express';
import { idempotencyKey, placeOrderRequest } from '../../contracts/orders.ts';
import { pageOf, userQuery } from '../../contracts/pages.ts';
import type { Database } from '../../infra/database/port.ts';
import { jsonBody, route } from '../../infra/http/app.ts';
import { notFound, Problem } from '../../infra/http/problem.ts';
import { parse, parseId } from '../../infra/http/validate.ts';
import type { PlaceOrder } from './place-order.ts';
import { findOrder, listOrders } from './store.ts';

export function orderRoutes(router: Router, database: Database, placeOrder: PlaceOrder): void {
  route(router, '/orders', {
    post: [
      jsonBody,
      async (request, response) => {
        const body = parse(placeOrderRequest, request.body);
        const key = parse(idempotencyKey, request.get('Idempotency-Key'), 'Idempotency-Key');
        const placed = await placeOrder(body, key);
        if (placed.outcome === 'key-reused') {
          throw new Problem(422, 'idempotency-key-reused', {
            title: 'This Idempotency-Key belongs to another order',
            detail: 'The key was used before with another body. Use a new key for a new order.',
          });
        }
        if (placed.outcome === 'replayed') response.set('Idempotency-Replayed', 'true');
        response
          .status(placed.outcome === 'placed' ? 201 : 200)
          .location(`/orders/${placed.order.id}`)
          .json(placed.order);
      },
    ],
    get: [
      async (request, response) => {
        const { userId, after, limit } = parse(userQuery, request.query);
        response.json(pageOf(await listOrders(database, userId, after, limit + 1), limit));
      },
    ],
  });

  route(router, '/orders/:id', {
    get: [
      async (request, response) => {
        const order = await findOrder(database, parseId(request.params.id, 'order'));
        if (!order) throw notFound('order');
        response.json(order);
      },
    ],
  });
}
