// flash-sale.ticket.closed, released, for an order: its flash sale has the unit back, and need not be asked any more.
import type { Event } from '../../contracts/events.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import { unitsReturned } from './store/orders.ts';

export const unitReturned: Handler<Event<'flash-sale.ticket.closed'>> = {
  accepts: ({ data }) => data.outcome === 'released' && data.orderId !== undefined,
  handle: (tx, events) => unitsReturned(tx, events.map(({ data }) => data.orderId ?? '').sort()),
};
