// flash-sale.ticket.closed → the flash sale has released the stock of a cancelled order: its reply to order.cancelled.
import type { Event } from '../../contracts/events.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import { recordStockReleases } from './store/orders.ts';

export const stockReleased: Handler<Event<'flash-sale.ticket.closed'>> = {
  accepts: ({ data }) => data.outcome === 'released' && data.orderId !== undefined,
  handle: (tx, events) => recordStockReleases(tx, events.map(({ data }) => data.orderId ?? '').sort()),
};
