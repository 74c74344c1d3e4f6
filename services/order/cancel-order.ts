// Cancelling an order, by request or because it is not paid in time: one conditional update writes order.cancelled, and
// each service reverts its effect. If a charge was attempted, settle-payments.ts refunds it.
import { v7 as uuidv7 } from 'uuid';
import type { Event } from '../../contracts/events.ts';
import { pollingLoop } from '../../infra/database/poll.ts';
import type { Handler } from '../../infra/messaging/handler.ts';
import type { ServiceContext } from '../../infra/runtime/service.ts';
import { CANCEL_ORDER, EXPIRE_ORDERS, findState, NEXT_EXPIRY, recordStockReleases } from './store/orders.ts';

/**
 * - `cancelled`: now or before.
 * - `paying`: a payment is in progress, and its outcome is not known yet.
 * - `changing`: the order changed concurrently in each round.
 */
type Cancelled = 'cancelled' | 'paying' | 'changing' | 'not-found';

/** A payment that ends between the two statements of a round costs one round. */
const ROUNDS = 5;
/** Expired orders in one statement; if more are due, the next statement follows at once. */
const EXPIRE_LIMIT = 200;

type Context = Pick<ServiceContext<unknown>, 'database' | 'outbox' | 'log'> & { readonly resendAfterMs: number };

/** Rejects with DatabaseUnavailable; the order may then be cancelled or not. */
export function createCancelOrder({ database, outbox, resendAfterMs }: Omit<Context, 'log'>) {
  return async (orderId: string, reason: string | undefined): Promise<Cancelled> => {
    const request = { orderId, eventId: uuidv7(), reason };
    for (let round = 1; round <= ROUNDS; round++) {
      await outbox.write(database, CANCEL_ORDER, request, resendAfterMs);
      const found = await findState(database, orderId);
      if (!found) return 'not-found';
      if (found.state === 'cancelled') return 'cancelled';
      if (found.state === 'paying') return 'paying';
      // The payment ended between the two statements.
    }
    return 'changing';
  };
}
export type CancelOrder = ReturnType<typeof createCancelOrder>;
export type CancelResult = Awaited<ReturnType<CancelOrder>>;

/**
 * Cancels orders that are not paid in time, by the database's clock. An order whose payment is in progress does not
 * expire: see the states in docs/decisions/0007-cancelling-and-paying.md.
 */
export const expireOrders = ({ database, outbox, resendAfterMs, log }: Context) =>
  pollingLoop({
    name: 'expire orders',
    everyMs: 1_000,
    database: database.background,
    nextDue: NEXT_EXPIRY,
    log,
    turn: async () => {
      const eventIds = Array.from({ length: EXPIRE_LIMIT }, () => uuidv7());
      const { length: expired } = await outbox.write(database.background, EXPIRE_ORDERS, eventIds, resendAfterMs);
      if (expired > 0) log.info({ count: expired }, 'cancelled: not paid in time');
      return expired === EXPIRE_LIMIT;
    },
  });

/** flash-sale.ticket.closed, the reply to order.cancelled → the flash sale has released the stock of the order. */
export const stockReleased: Handler<Event<'flash-sale.ticket.closed'>> = {
  accepts: ({ data }) => data.outcome === 'released' && data.orderId !== undefined,
  handle: (tx, events) => recordStockReleases(tx, events.map(({ data }) => data.orderId ?? '').sort()),
};
