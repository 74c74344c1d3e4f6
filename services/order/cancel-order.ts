// Cancelling an order: one conditional update with order.cancelled, whose answers take the effects back. What was
// tried to be charged is given back by settle-payments.ts.
import { v7 as uuidv7 } from 'uuid';
import type { Database } from '../../infra/database/port.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { CANCEL_ORDERS, findState } from './store/orders.ts';

/**
 * Cancelled now or before; or it is being paid at this moment, and nobody knows yet how that ends; or it changed again
 * each time that this was tried.
 */
export type Cancelled = 'cancelled' | 'being-paid' | 'changing' | 'not-found';

/** A payment that ends between the two statements of a round costs one: more are a sign that something else is wrong. */
const ROUNDS = 5;

export interface CancelOrderOptions {
  readonly database: Database;
  readonly outbox: Outbox;
  readonly resendAfterMs: number;
}

/** Rejects with DatabaseUnavailable: then it is not known whether the order was cancelled. */
export function createCancelOrder({ database, outbox, resendAfterMs }: CancelOrderOptions) {
  return async (orderId: string, reason: string | undefined): Promise<Cancelled> => {
    const request = { orderId, eventId: uuidv7(), reason };
    for (let round = 1; round <= ROUNDS; round++) {
      await outbox.write(database, CANCEL_ORDERS, [request], resendAfterMs);
      const found = await findState(database, orderId);
      if (!found) return 'not-found';
      if (found.state === 'cancelled') return 'cancelled';
      if (found.state === 'paying') return 'being-paid';
      // The payment that was in the way has ended between the two statements.
    }
    return 'changing';
  };
}
export type CancelOrder = ReturnType<typeof createCancelOrder>;
