// Placing an order. By request: one statement for all requests that wait together, and the response after the commit.
// For a ticket of a flash sale: in the transaction of its event.
import { v7 as uuidv7 } from 'uuid';
import type { Event, EventData } from '../../contracts/events.ts';
import type { Order, PlaceOrderRequest } from '../../contracts/orders.ts';
import { GroupCommit } from '../../infra/database/group-commit.ts';
import { type Outbox, replyWith } from '../../infra/messaging/outbox.ts';
import type { ServiceContext } from '../../infra/runtime/service.ts';
import { fingerprint, type NewOrder, newOrder, newTicketOrder, placedOrder } from './order.ts';
import { findOrderByKey, insertTicketOrders, PLACE_ORDERS, STATE_FOR_TICKETS } from './store/orders.ts';

/** Orders in one statement. */
const MAX_BATCH = 200;
/** While requests come steadily, they are gathered for the next statement this long, or until GATHER_UNTIL wait. */
const GATHER_MS = 5;
const GATHER_UNTIL = 10;
/**
 * On PostgreSQL, this many requests that wait start a second statement: in a burst, that accepts up to half as many
 * orders again. PGlite runs one statement at a time, so it would only get smaller ones.
 */
const SECOND_FROM = 32;
/** Requests that may wait for a statement; a further one is rejected with Overloaded. */
const MAX_WAITING = 5_000;

export type PlaceResult =
  | { readonly outcome: 'placed' | 'replayed'; readonly order: Order }
  | { readonly outcome: 'key-reused' };

export type PlaceOrder = (request: PlaceOrderRequest, key: string | undefined) => Promise<PlaceResult>;

type Context = Pick<ServiceContext<unknown>, 'database' | 'outbox'> & { readonly resendAfterMs: number };

/**
 * The returned function rejects with Overloaded (nothing was placed) or DatabaseUnavailable (the order may have been
 * placed).
 */
export function createPlaceOrder({ database, outbox, resendAfterMs }: Context): PlaceOrder {
  // The result of an item: the time of the order, or undefined if its idempotency key is in use.
  const commits = new GroupCommit<NewOrder & { event: string }, Date | undefined>({
    run: async (batch) => {
      const events = await outbox.write(database, PLACE_ORDERS, batch, resendAfterMs);
      const createdAt = new Map(events.map(({ subject, time }) => [subject, time]));
      return batch.map(({ id }) => createdAt.get(id));
    },
    // Sorts a batch. Orders without an idempotency key never conflict, so their sort key is empty.
    key: ({ userId, idempotencyKey }) => (idempotencyKey === undefined ? '' : `${userId} ${idempotencyKey}`),
    maxBatch: MAX_BATCH,
    gatherMs: GATHER_MS,
    gatherUntil: GATHER_UNTIL,
    ...(database.kind === 'postgres' && { secondFrom: SECOND_FROM }),
    maxWaiting: MAX_WAITING,
  });

  return async (request, key) => {
    const order = newOrder(request, key, { id: uuidv7(), placedEventId: uuidv7() });
    const createdAt = await commits.submit({ ...order, event: placedEvent(order) });
    if (createdAt) return { outcome: 'placed', order: placedOrder(order, createdAt) };

    // Another request with this key has been committed.
    const winner = await findOrderByKey(database, request.userId, key ?? '');
    if (!winner) throw new Error(`no order found for an idempotency key of ${request.userId} that is in use`);
    return winner.requestHash === fingerprint(request)
      ? { outcome: 'replayed', order: winner.order }
      : { outcome: 'key-reused' };
  };
}

const placedEvent = ({ id, userId, currency, total, items }: NewOrder) => {
  const data: EventData<'order.placed'> = { orderId: id, userId, currency, total, itemCount: items.length };
  return JSON.stringify(data);
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
