// What the order service does with the events of other services.
import { v7 as uuidv7 } from 'uuid';
import type { Event, StepResult } from '../../contracts/events.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import { type Outbox, replyWith } from '../../infra/messaging/outbox.ts';
import { newTicketOrder, stepReport } from './order.ts';
import { insertTicketOrders, recordSteps, recordStockReleases, STATE_FOR_TICKETS } from './store/orders.ts';

/** The results of the steps → the orders' progress. Results get no reply. */
export const recordProgress: Handler<Event<StepResult>> = {
  handle: (tx, events) => recordSteps(tx, events.map(stepReport)),
};

/**
 * flash-sale.ticket.accepted → the ticket's order, placed once → order.placed, or order.awaiting-payment if the sale
 * requires payment. The reply to a resent request is the order's current state.
 */
export const placeForTicket = (outbox: Outbox, resendAfterMs: number) =>
  replyWith<Event<'flash-sale.ticket.accepted'>>(outbox, STATE_FOR_TICKETS, (tx, events) => {
    const orders = events
      .map(({ data }) => newTicketOrder(data, { id: uuidv7(), placedEventId: uuidv7(), awaitingEventId: uuidv7() }))
      // Two processes that insert the same tickets in opposite order deadlock.
      .sort((a, b) => (a.ticketId < b.ticketId ? -1 : 1));
    return insertTicketOrders(tx, orders, resendAfterMs);
  });

/** flash-sale.ticket.closed, the reply to order.cancelled → the flash sale has released the stock of the order. */
export const stockReleased: Handler<Event<'flash-sale.ticket.closed'>> = {
  accepts: ({ data }) => data.outcome === 'released' && data.orderId !== undefined,
  handle: (tx, events) => recordStockReleases(tx, events.map(({ data }) => data.orderId ?? '').sort()),
};
