// Follows the order of a ticket: while it awaits payment, the unit stays held; once it is placed, the unit is sold; if
// it is cancelled, the unit goes back to the sale. The order of the events does not matter: a ticket whose unit went
// back is never sold afterwards, and a sold one never awaits payment again.
import { v7 as uuidv7 } from 'uuid';
import type { Event } from '../../contracts/events.ts';
import type { Transaction } from '../../infra/database/port.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { awaitPayment, lockTickets, RELEASED, release, settle } from './store/tickets.ts';

type OrderEvent = Event<'order.placed' | 'order.awaiting-payment' | 'order.cancelled'>;

/**
 * One report per ticket, in the order of the ids, so that two processes never deadlock. None for an order without a
 * ticket, whose event the local bus may have stored in the inbox.
 */
function reportsOf<D extends OrderEvent['data']>(events: readonly { readonly data: D }[]) {
  const byTicket = new Map<string, D & { readonly ticketId: string; readonly eventId: string }>();
  for (const { data } of events) {
    const { ticketId } = data;
    if (ticketId !== undefined) byTicket.set(ticketId, { ...data, ticketId, eventId: uuidv7() });
  }
  return [...byTicket.values()].sort((a, b) => (a.ticketId < b.ticketId ? -1 : 1));
}

const isPlaced = (event: OrderEvent) => event.type === 'order.placed';
const isAwaitingPayment = (event: OrderEvent) => event.type === 'order.awaiting-payment';
const isCancelled = (event: OrderEvent) => event.type === 'order.cancelled';

/**
 * - order.placed of a ticket → the unit is sold. Publishes nothing: the event is the reply to this service's request.
 * - order.awaiting-payment → the ticket shows it.
 * - order.cancelled of a ticket → the unit goes back → flash-sale.ticket.closed, the reply to the order service: the
 *   same event each time, even if another message cancelled the ticket before.
 *
 * One handler, because the three change the same rows: in a batch of several kinds, it locks all rows in one order
 * first. Otherwise two processes deadlock if one sells at sale A and releases at sale B, and the other the reverse.
 */
export const followOrders = (outbox: Outbox, resendAfterMs: number): Handler<OrderEvent> => {
  const sendReleased = (tx: Transaction, orderIds: readonly string[]) => outbox.write(tx, RELEASED, orderIds);
  return {
    accepts: ({ data }) => data.ticketId !== undefined,
    handle: async (tx, events) => {
      const placed = reportsOf(events.filter(isPlaced));
      const awaiting = reportsOf(events.filter(isAwaitingPayment));
      const cancelled = reportsOf(events.filter(isCancelled));
      const kinds = [placed, awaiting, cancelled].filter(({ length }) => length > 0);
      if (kinds.length > 1)
        await lockTickets(
          tx,
          kinds.flat().map(({ ticketId }) => ticketId),
        );
      if (placed.length > 0) await settle(tx, placed);
      if (awaiting.length > 0) await awaitPayment(tx, awaiting, resendAfterMs);
      if (cancelled.length === 0) return;
      await release(tx, cancelled);
      const orderIds = events.filter(isCancelled).map(({ subject }) => subject);
      await sendReleased(tx, orderIds);
    },
    // Also called for the other two types, whose tickets may have been released since.
    resendReplies: sendReleased,
  };
};
