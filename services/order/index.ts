import type { Event, StepResult } from '../../contracts/events.ts';
import type { Subscribed } from '../../contracts/services.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import { resendLoop } from '../../infra/messaging/resend.ts';
import type { Service, ServiceContext } from '../../infra/runtime/service.ts';
import { createCancelOrder, expireOrders, stockReleased } from './cancel-order.ts';
import { front } from './front.ts';
import { orderGauges } from './gauges.ts';
import { stepReport } from './order.ts';
import { createPayOrder } from './pay-order.ts';
import type { PaymentProvider } from './payments/port.ts';
import { createPlaceOrder, placeForTicket } from './place-order.ts';
import { cancelAndPayRoutes, placeAndReadRoutes } from './routes.ts';
import type { OrderSettings } from './settings.ts';
import { settlePayments } from './settle-payments.ts';
import { orderFacts, ticketOrderFacts } from './store/facts.ts';
import { orderHistory } from './store/history.ts';
import { RESEND_BY_ID, RESEND_CANCELLED, RESEND_PLACED, recordSteps } from './store/orders.ts';

/** A payment without a known outcome is retried this long after the provider's timeout. */
const RETRY_MARGIN_MS = 1_000;

/** The results of the steps → the orders' progress. Results get no reply. */
const recordProgress: Handler<Event<StepResult>> = {
  handle: (tx, events) => recordSteps(tx, events.map(stepReport)),
};

type OrderContext = ServiceContext<OrderSettings> & { readonly payments: PaymentProvider };

export function orderService(context: OrderContext): Service<Event<Subscribed<'order'>>> {
  const { settings, database, outbox, payments: provider, metrics, log } = context;
  const resendAfterMs = settings.RESEND_AFTER_MS;
  const retryAfterMs = settings.PAYMENT_TIMEOUT_MS + RETRY_MARGIN_MS;
  const parts = { database, outbox, provider, resendAfterMs, retryAfterMs, log };
  const placeOrder = createPlaceOrder(parts);
  return {
    migrations: new URL('./store/migrations/', import.meta.url),
    handlers: {
      'points.awarded': recordProgress,
      'points.revoked': recordProgress,
      'coupon.issued': recordProgress,
      'coupon.skipped': recordProgress,
      'coupon.revoked': recordProgress,
      'notification.sent': recordProgress,
      'step.failed': recordProgress,
      'flash-sale.ticket.accepted': placeForTicket(outbox, resendAfterMs),
      'flash-sale.ticket.closed': stockReleased,
    },
    routes: (api) => {
      placeAndReadRoutes(api, database, placeOrder);
      cancelAndPayRoutes(api, database, createCancelOrder(parts), createPayOrder(parts));
    },
    front: front({ placeOrder, log }),
    gauges: orderGauges(metrics),
    facts: { order: orderFacts, 'order/tickets': ticketOrderFacts },
    history: orderHistory(parts),
    resend: RESEND_BY_ID,
    loops: [
      resendLoop(context, 'order.placed', RESEND_PLACED),
      resendLoop(context, 'order.cancelled', RESEND_CANCELLED),
      expireOrders(parts),
      settlePayments(parts),
    ],
  };
}
