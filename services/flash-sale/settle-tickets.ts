// What became of a ticket's order: it waits for payment, so the unit stays held; it was placed, so the unit is sold; or it
// was cancelled, so the unit goes back. In whatever order they arrive, the end is the same: a ticket that has given its
// unit back is not sold any more, and one that is sold does not wait any more.
import { v7 as uuidv7 } from 'uuid';
import type { Event } from '../../contracts/events.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { awaitPayment, RELEASED, release, settle } from './store/tickets.ts';

const ofTicket = ({ data }: Event<'order.placed' | 'order.cancelled'>) => data.ticketId !== undefined;

/** One report for each ticket, in the order of their ids: two processes never wait for each other's rows. */
function reports(events: readonly Event<'order.placed' | 'order.cancelled'>[]): string {
  const byTicket = new Map(
    events.map(({ data }) => {
      const reason = 'reason' in data ? data.reason : undefined;
      return [data.ticketId ?? '', { ticketId: data.ticketId, orderId: data.orderId, eventId: uuidv7(), reason }];
    }),
  );
  const inOrder = [...byTicket].sort(([one], [other]) => (one < other ? -1 : 1));
  return JSON.stringify(inOrder.map(([, report]) => report));
}

/** order.placed of a ticket → the unit is sold. Nothing is said: order.placed is the reply to what was asked here. */
export const settleTickets: Handler<Event<'order.placed'>> = {
  accepts: ofTicket,
  handle: (tx, events) => settle(tx, reports(events)),
};

/**
 * order.cancelled of a ticket → the unit goes back → flash-sale.ticket.closed, which answers the order service: with the
 * same event each time, also where another message had said it.
 */
export const releaseTickets = (outbox: Outbox): Handler<Event<'order.cancelled'>> => ({
  accepts: ofTicket,
  handle: async (tx, events) => {
    await release(tx, reports(events));
    const orderIds = events.map(({ data }) => data.orderId);
    await outbox.write(tx, RELEASED, orderIds);
  },
  resendReplies: (tx, orderIds) => outbox.write(tx, RELEASED, orderIds),
});

/** order.awaiting-payment of a ticket → its holder is told so. */
export const awaitPayments = (resendAfterMs: number): Handler<Event<'order.awaiting-payment'>> => ({
  handle: (tx, events) =>
    awaitPayment(
      tx,
      events.map(({ data }) => data).sort((a, b) => (a.ticketId < b.ticketId ? -1 : 1)),
      resendAfterMs,
    ),
});
