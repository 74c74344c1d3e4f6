// Cancelling an order: one conditional update writes order.cancelled, and each service reverts its effect. If a charge
// was attempted, settle-payments.ts refunds it.
import { v7 as uuidv7 } from 'uuid';
import type { Database } from '../../infra/database/port.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { CANCEL_ORDERS, findState } from './store/orders.ts';

/**
 * - `cancelled`: now or before.
 * - `being-paid`: a payment is under way, and its outcome is not known yet.
 * - `changing`: the order changed concurrently in each round.
 */
export type Cancelled = 'cancelled' | 'being-paid' | 'changing' | 'not-found';

/** A payment that ends between the two statements of a round costs one round. */
const ROUNDS = 5;

export interface CancelOrderOptions {
  readonly database: Database;
  readonly outbox: Outbox;
  readonly resendAfterMs: number;
}

/** Rejects with DatabaseUnavailable; the order may then be cancelled or not. */
export function createCancelOrder({ database, outbox, resendAfterMs }: CancelOrderOptions) {
  return async (orderId: string, reason: string | undefined): Promise<Cancelled> => {
    const request = { orderId, eventId: uuidv7(), reason };
    for (let round = 1; round <= ROUNDS; round++) {
      await outbox.write(database, CANCEL_ORDERS, [request], resendAfterMs);
      const found = await findState(database, orderId);
      if (!found) return 'not-found';
      if (found.state === 'cancelled') return 'cancelled';
      if (found.state === 'paying') return 'being-paid';
      // The payment ended between the two statements.
    }
    return 'changing';
  };
}
export type CancelOrder = ReturnType<typeof createCancelOrder>;
