// A listener in front of Express that places orders, because Express's routing and body parsing cost several times as
// much as the rest of the request. It handles requests in their usual form and with a valid body, and passes on all
// others as if it had not read them. The route gives the same responses; a test sends the same requests to both.
import type { RequestListener } from 'node:http';
import type { Logger } from 'pino';
import { orderRoutes } from '../../contracts/routes/orders.ts';
import { isActingFor, mayActFor } from '../../infra/access/caller.ts';
import { sendReply, withUser } from '../../infra/http/api.ts';
import { type Authentication, admitKnown, callerOf } from '../../infra/http/authentication.ts';
import { sendError } from '../../infra/http/problem.ts';
import { setRoute } from '../../infra/http/route-of.ts';
import { handleSmallBody, jsonOf } from '../../infra/http/small-body.ts';
import type { PlaceOrder } from './place-order.ts';
import { placedReply } from './replies.ts';

/** About 100 items. A larger body seldom arrives whole. */
const MAX_BODY_BYTES = 8 * 1024;

const route = orderRoutes.placeOrder;
const METHOD = route.method.toUpperCase();

interface Options {
  readonly placeOrder: PlaceOrder;
  readonly log: Logger;
}

/** Returns the listener that passes on requests to `next`. */
export const front =
  ({ placeOrder, log }: Options) =>
  (next: RequestListener, authentication: Authentication): RequestListener =>
  (request, response) => {
    const place = (body: Buffer) => {
      if (!admitKnown(authentication, route.access, request)) return false;
      const caller = callerOf(request);
      const order = route.body.schema.safeParse(withUser(jsonOf(request, body), caller));
      const key = route.idempotencyKey.safeParse(request.headers['idempotency-key']);
      if (!order.success || !key.success || !mayActFor(caller, order.data.userId)) return false;
      if (isActingFor(caller, order.data.userId)) return false; // the route records it
      authentication
        .countOrder(caller)
        .then(() => placeOrder(order.data, key.data))
        .then((result) => sendReply(response, placedReply(request, result)))
        .catch((error) => sendError(log, error, request, response));
      return true;
    };
    const isPlacing = request.method === METHOD && request.url === route.path;
    if (isPlacing) setRoute(request, route);
    if (!isPlacing || !handleSmallBody(request, MAX_BODY_BYTES, place)) next(request, response);
  };
