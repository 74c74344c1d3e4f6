// flash-sale.ticket.accepted → the ticket's order, placed once, and the event that says what it has become: order.placed,
// or order.awaiting-payment where the sale asks for payment. A repeated question gets the answer of that moment.
import { v7 as uuidv7 } from 'uuid';
import type { Event } from '../../contracts/events.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { newTicketOrder } from './order.ts';
import { insertTicketOrders, STATE_FOR_TICKETS } from './store/orders.ts';

export function placeForTicket(outbox: Outbox, resendAfterMs: number): Handler<Event<'flash-sale.ticket.accepted'>> {
  return {
    handle: async (tx, events) => {
      const orders = events
        .map(({ data }) => newTicketOrder(data, { id: uuidv7(), placedEventId: uuidv7(), awaitingEventId: uuidv7() }))
        // Two processes that insert the same tickets in opposite order would wait for each other.
        .sort((a, b) => (a.ticketId < b.ticketId ? -1 : 1));
      await insertTicketOrders(tx, orders, resendAfterMs);
      const ticketIds = orders.map(({ ticketId }) => ticketId);
      await outbox.write(tx, STATE_FOR_TICKETS, ticketIds);
    },
    resendReplies: (tx, ticketIds) => outbox.write(tx, STATE_FOR_TICKETS, ticketIds),
  };
}
