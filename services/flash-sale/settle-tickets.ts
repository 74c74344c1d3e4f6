// Follows the order of a ticket: while it awaits payment, the unit stays held; once it is placed, the unit is sold; if
// it is cancelled, the unit goes back to the sale. The order of the events does not matter: a ticket whose unit went
// back is never sold afterwards, and a sold one never awaits payment again.
import { v7 as uuidv7 } from 'uuid';
import type { Event } from '../../contracts/events.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import { type Outbox, replyWith } from '../../infra/messaging/outbox.ts';
import { awaitPayment, RELEASED, release, settle } from './store/tickets.ts';

const ofTicket = ({ data }: Event<'order.placed' | 'order.cancelled'>) => data.ticketId !== undefined;

/** JSON with one report per ticket, in the order of the ids, so that two processes never deadlock. */
function reports(events: readonly Event<'order.placed' | 'order.cancelled'>[]): string {
  const byTicket = new Map(
    events.map(({ data }) => {
      const reason = 'reason' in data ? data.reason : undefined;
      return [data.ticketId ?? '', { ticketId: data.ticketId, orderId: data.orderId, eventId: uuidv7(), reason }];
    }),
  );
  const sorted = [...byTicket].sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(sorted.map(([, report]) => report));
}

/** order.placed of a ticket → the unit is sold. Publishes nothing: the event is the reply to this service's request. */
export const settleTickets: Handler<Event<'order.placed'>> = {
  accepts: ofTicket,
  handle: (tx, events) => settle(tx, reports(events)),
};

/**
 * order.cancelled of a ticket → the unit goes back → flash-sale.ticket.closed, the reply to the order service: the same
 * event each time, even if another message cancelled the ticket before.
 */
export const releaseTickets = (outbox: Outbox): Handler<Event<'order.cancelled'>> => ({
  accepts: ofTicket,
  ...replyWith(outbox, RELEASED, (tx, events) => release(tx, reports(events))),
});

/** order.awaiting-payment of a ticket → the ticket shows it. */
export const awaitPayments = (resendAfterMs: number): Handler<Event<'order.awaiting-payment'>> => ({
  handle: (tx, events) =>
    awaitPayment(
      tx,
      events.map(({ data }) => data).sort((a, b) => (a.ticketId < b.ticketId ? -1 : 1)),
      resendAfterMs,
    ),
});
