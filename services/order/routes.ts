import type { Request } from 'express';
import type { Order, PaymentOutcome } from '../../contracts/orders.ts';
import { pageOf } from '../../contracts/pages.ts';
import { orderRoutes } from '../../contracts/routes/orders.ts';
import { isOperator } from '../../infra/access/caller.ts';
import type { Database } from '../../infra/database/port.ts';
import { recordActingFor } from '../../infra/http/acting-for.ts';
import { type Api, reply } from '../../infra/http/api.ts';
import { callerOf, requireOwner } from '../../infra/http/authentication.ts';
import { prefersHtml } from '../../infra/http/prefers-html.ts';
import { concurrentUpdate, notFound, Problem, unavailable } from '../../infra/http/problem.ts';
import { seeOther } from '../../infra/http/see-other.ts';
import type { CancelOrder, CancelResult } from './cancel-order.ts';
import type { PayOrder, PayResult } from './pay-order.ts';
import type { PlaceOrder } from './place-order.ts';
import { placedReply } from './replies.ts';
import { findOrder, findOwner, listOrders } from './store/orders.ts';

export function placeAndReadRoutes(api: Api, database: Database, placeOrder: PlaceOrder): void {
  api.handle(orderRoutes.placeOrder, async ({ body, idempotencyKey }, request) => {
    await api.countOrder(request);
    const about = { action: 'order.place', service: 'order', user: body.userId };
    await recordActingFor(database, request, about, {
      before: null,
      after: { currency: body.currency, items: body.items.length },
    });
    return placedReply(request, await placeOrder(body, idempotencyKey));
  });
  api.handle(orderRoutes.listOrders, async ({ query: { userId, after, limit } }) =>
    reply(200, pageOf(await listOrders(database, userId, after, limit + 1), limit)),
  );
  api.handle(orderRoutes.readOrder, async ({ params }, request) => {
    const order = await orderOf(database, params.id);
    await requireOwner(request, 'order', async () => order.userId);
    return reply(200, order);
  });
}

export function cancelAndPayRoutes(api: Api, database: Database, cancelOrder: CancelOrder, payOrder: PayOrder): void {
  api.handle(orderRoutes.cancelOrder, async ({ params: { id }, body: { reason } }, request) => {
    await requireOwner(request, 'order', () => findOwner(database, id));
    await recordChange(database, request, { id, action: 'order.cancel', status: 'cancelled' });
    throwUnlessCancelled(await cancelOrder(id, reason));
    return reply(200, await orderOf(database, id));
  });
  api.handle(orderRoutes.payOrder, async ({ params: { id }, body: { returnTo } }, request, response) => {
    await requireOwner(request, 'order', () => findOwner(database, id));
    await recordChange(database, request, { id, action: 'order.pay', status: 'placed' });
    const outcome = await payOrder(id);
    // orderOf throws the 404 of an unknown order.
    if (returnTo !== undefined && outcome !== 'not-found' && prefersHtml(request)) {
      seeOther(response, `${returnTo}?payment=${outcomeForBrowser(outcome)}`);
      return undefined;
    }
    throwUnlessPaid(outcome);
    return reply(200, await orderOf(database, id));
  });
}

/** Records what an operator is about to change of another user's order. */
async function recordChange(
  database: Database,
  request: Request,
  { id, action, status }: { readonly id: string; readonly action: string; readonly status: Order['status'] },
): Promise<void> {
  if (!isOperator(callerOf(request)) || callerOf(request).user === undefined) return;
  const order = await findOrder(database, id);
  if (!order) return;
  const about = { action, service: 'order', target: id, user: order.userId };
  await recordActingFor(database, request, about, { before: { status: order.status }, after: { status } });
}

function throwUnlessCancelled(outcome: CancelResult): void {
  if (outcome === 'changing') throw concurrentUpdate();
  if (outcome === 'paying') {
    throw new Problem(409, 'payment-under-way', {
      title: 'A payment of the order is in progress',
      detail: 'Cancel the order once the outcome is known.',
      headers: { 'Retry-After': '2' },
    });
  }
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

async function orderOf(database: Database, id: string): Promise<Order> {
  const order = await findOrder(database, id);
  if (!order) throw notFound('order');
  return order;
}
