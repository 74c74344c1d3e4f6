import type { Response, Router } from 'express';
import { idempotencyKey } from '../../contracts/idempotency.ts';
import { cancelRequest, type PaymentOutcome, payRequest, placeOrderRequest } from '../../contracts/orders.ts';
import { pageOf, userQuery } from '../../contracts/pages.ts';
import type { Database } from '../../infra/database/port.ts';
import {
  IDEMPOTENCY_KEY,
  jsonBody,
  optionalFormOrJsonBody,
  optionalJsonBody,
  parse,
  parseId,
  prefersHtml,
  route,
} from '../../infra/http/app.ts';
import { concurrentUpdate, notFound, Problem, unavailable } from '../../infra/http/problem.ts';
import { seeOther } from '../../infra/http/see-other.ts';
import type { CancelOrder } from './cancel-order.ts';
import type { PayOrder, PayResult } from './pay-order.ts';
import type { PlaceOrder } from './place-order.ts';
import { sendPlaced } from './responses.ts';
import { findOrder, listOrders } from './store/orders.ts';

export function orderRoutes(router: Router, database: Database, placeOrder: PlaceOrder): void {
  route(router, '/orders', {
    honoursIdempotencyKey: 'post',
    post: [
      jsonBody,
      async (request, response) => {
        const body = parse(placeOrderRequest, request.body);
        const key = parse(idempotencyKey, request.get(IDEMPOTENCY_KEY), IDEMPOTENCY_KEY);
        sendPlaced(response, await placeOrder(body, key));
      },
    ],
    get: async (request, response) => {
      const { userId, after, limit } = parse(userQuery, request.query);
      response.json(pageOf(await listOrders(database, userId, after, limit + 1), limit));
    },
  });

  route(router, '/orders/:id', {
    get: async (request, response) => {
      await respondWithOrder(response, database, parseId(request.params.id, 'order'));
    },
  });
}

export function cancelAndPayRoutes(
  router: Router,
  database: Database,
  cancelOrder: CancelOrder,
  payOrder: PayOrder,
): void {
  route(router, '/orders/:id/cancel', {
    post: [
      optionalJsonBody,
      async (request, response) => {
        const id = parseId(request.params.id, 'order');
        const { reason } = parse(cancelRequest, request.body ?? {});
        const outcome = await cancelOrder(id, reason);
        if (outcome === 'changing') throw concurrentUpdate();
        if (outcome === 'paying') {
          throw new Problem(409, 'payment-under-way', {
            title: 'A payment of the order is in progress',
            detail: 'Cancel the order once the outcome is known.',
            headers: { 'Retry-After': '2' },
          });
        }
        await respondWithOrder(response, database, id);
      },
    ],
  });

  route(router, '/orders/:id/pay', {
    post: [
      optionalFormOrJsonBody,
      async (request, response) => {
        const id = parseId(request.params.id, 'order');
        const { returnTo } = parse(payRequest, request.body ?? {});
        const outcome = await payOrder(id);
        // respondWithOrder throws the 404 of an unknown order.
        if (returnTo !== undefined && outcome !== 'not-found' && prefersHtml(request))
          seeOther(response, `${returnTo}?payment=${outcomeForBrowser(outcome)}`);
        else {
          throwUnlessPaid(outcome);
          await respondWithOrder(response, database, id);
        }
      },
    ],
  });
}

const outcomeForBrowser = (outcome: Exclude<PayResult, 'not-found'>): PaymentOutcome =>
  outcome === 'unknown' ? 'in-progress' : outcome;

function throwUnlessPaid(outcome: PayResult): void {
  switch (outcome) {
    case 'declined':
      throw new Problem(402, 'payment-declined', {
        title: 'The payment was declined',
        detail: 'Nothing was charged. You can try again until the order expires.',
      });
    case 'rejected':
      throw unavailable('The payment provider rejects this payment. The order awaits payment until it expires.', 60);
    case 'unknown':
      throw unavailable('The payment provider has not responded yet. The payment is retried; please try again.', 2);
    case 'not-payable':
      throw new Problem(409, 'not-payable', {
        title: 'There is nothing to pay for this order',
        detail: 'The order has expired, is cancelled, or requires no payment.',
      });
    case 'paid':
    case 'not-found':
  }
}

async function respondWithOrder(response: Response, database: Database, id: string): Promise<void> {
  const order = await findOrder(database, id);
  if (!order) throw notFound('order');
  response.json(order);
}
