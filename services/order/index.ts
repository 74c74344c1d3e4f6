import { askAgainLoop } from '../ask-again.ts';
import type { Service, ServiceContext } from '../service.ts';
import { placeForTicket } from './place-for-ticket.ts';
import { createPlaceOrder } from './place-order.ts';
import { recordProgress } from './record-progress.ts';
import { orderRoutes } from './routes.ts';
import { ASK_AGAIN, ASKED_AGAIN } from './store.ts';

export function orderService({ config, database, outbox, metrics, log }: ServiceContext): Service<'order'> {
  const askAgainMs = config.ASK_AGAIN_MS;
  const placeOrder = createPlaceOrder({ database, outbox, askAgainMs });
  return {
    migrations: new URL('./migrations/', import.meta.url),
    handlers: {
      'points.awarded': recordProgress,
      'coupon.issued': recordProgress,
      'coupon.skipped': recordProgress,
      'notification.sent': recordProgress,
      'step.failed': recordProgress,
      'flash-sale.ticket.accepted': placeForTicket(outbox, askAgainMs),
    },
    routes: (router) => orderRoutes(router, database, placeOrder),
    loops: [
      askAgainLoop({
        question: 'order.placed',
        ask: (limit) => outbox.writeAtOnce(database.background, 'bus', ASKED_AGAIN, [askAgainMs, limit], ASK_AGAIN),
        askAgainMs,
        metrics,
        log,
      }),
    ],
  };
}
