import type { Service, ServiceContext } from '../service.ts';
import { askAgainLoop } from './ask-again.ts';
import { createPlaceOrder } from './place-order.ts';
import { recordProgress } from './record-progress.ts';
import { orderRoutes } from './routes.ts';

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
    },
    routes: (router) => orderRoutes(router, database, placeOrder),
    loops: [
      askAgainLoop({
        database: database.background,
        askAgainMs,
        log,
        onAsked: (count) => {
          metrics.askedAgain.inc({ type: 'order.placed' }, count);
          outbox.wake('bus');
        },
      }),
    ],
  };
}
