// Where the gate finds the schemas: the one place that knows how contracts/ declares events and routes.
import { z } from 'zod';
import { eventSchemas } from '../../contracts/events.ts';
import { factLists, factsQuery, messagesQuery, resendRequest } from '../../contracts/facts.ts';
import { createFlashSaleRequest, flashSalesQuery, purchaseRequest } from '../../contracts/flash-sales.ts';
import { idempotencyKey } from '../../contracts/idempotency.ts';
import { failedMessagesQuery, retryQuery } from '../../contracts/operations.ts';
import { cancelRequest, payRequest, placeOrderRequest } from '../../contracts/orders.ts';
import { pageQuery, userQuery } from '../../contracts/pages.ts';
import { chargeRequest } from '../../contracts/payments.ts';
import { problem } from '../../contracts/problems.ts';
import { routes as responses } from '../../contracts/responses.ts';

/** The parts of a request that have a schema; a route without one takes none of it. */
export const parts = ['body', 'query', 'headers'] as const;
export type Part = (typeof parts)[number];
type RequestParts = Readonly<Partial<Record<Part, z.ZodType>>>;

export interface SourceRoute {
  readonly method: string;
  /** `:name` stands for one segment. The first route that matches a request applies. */
  readonly path: string;
  readonly request: RequestParts;
  /** By status. */
  readonly responses: Readonly<Record<number, z.ZodType>>;
}

export interface Sources {
  /** By type: the whole envelope. */
  readonly events: Readonly<Record<string, z.ZodType>>;
  readonly routes: readonly SourceRoute[];
  /** The error responses of all routes. */
  readonly problem: z.ZodType;
}

const keyed = z.object({ 'idempotency-key': idempotencyKey });

const requests: Readonly<Record<string, RequestParts>> = {
  'POST /orders': { body: placeOrderRequest, headers: keyed },
  'GET /orders': { query: userQuery },
  'POST /orders/:id/cancel': { body: cancelRequest },
  'POST /orders/:id/pay': { body: payRequest },
  'GET /users/:userId/points': { query: pageQuery },
  'GET /users/:userId/coupons': { query: pageQuery },
  'GET /users/:userId/notifications': { query: pageQuery },
  'POST /flash-sales': { body: createFlashSaleRequest, headers: keyed },
  'GET /flash-sales': { query: flashSalesQuery },
  'POST /flash-sales/:id/purchases': { body: purchaseRequest },
  'GET /failed-messages/:service': { query: failedMessagesQuery },
  'POST /failed-messages/:service/retry': { query: retryQuery },
  'GET /audit/:service/messages': { query: messagesQuery },
  'POST /audit/:service/resend': { body: resendRequest },
  ...Object.fromEntries(Object.keys(factLists).map((list) => [`GET /audit/${list}`, { query: factsQuery }])),
  'PUT /charges/:orderId': { body: chargeRequest },
  'GET /charges': { query: pageQuery },
};

export const sources: Sources = {
  events: eventSchemas,
  routes: responses.map(([method, path, byStatus]) => ({
    method,
    path,
    request: requests[`${method} ${path}`] ?? {},
    responses: byStatus,
  })),
  problem,
};
