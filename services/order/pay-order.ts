// Paying an order: it is `paying` before the provider is asked, so that it cannot expire meanwhile, and it stays so until
// somebody knows the outcome: this request, a repeated one, or the sweep (settle-payments.ts). The order's id is the
// provider's idempotency key, so all of them get one charge.
import type { Logger } from 'pino';
import type { Database } from '../../infra/database/port.ts';
import { failpoint } from '../../infra/failpoint.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { type PaymentProvider, PaymentUnknown } from '../../infra/payments/port.ts';
import { type Attempt, beginPayment, CHANGED, CONFIRM_PAYMENT, endAttempt, findState } from './store.ts';

/** `unknown`: the provider has not answered. It is asked again until it does, and until then the order cannot expire. */
export type Paid = 'paid' | 'declined' | 'unknown' | 'not-payable' | 'not-found';

export interface PaymentOptions {
  readonly database: Database;
  readonly outbox: Outbox;
  readonly provider: PaymentProvider;
  readonly askAgainMs: number;
  /** After this, an attempt without a known outcome is taken up again: must exceed the provider's timeout. */
  readonly againMs: number;
  readonly log: Logger;
}

/** Asks the provider, and records what it says. */
export function createSettle({ database, outbox, provider, askAgainMs, log }: PaymentOptions) {
  return async (attempt: Attempt): Promise<'paid' | 'declined' | 'unknown'> => {
    const { orderId, amount, currency } = attempt;
    try {
      failpoint('payment.before-charge');
      if ((await provider.charge({ orderId, amount, currency })) === 'approved') {
        failpoint('payment.after-charge');
        await outbox.writeAtOnce(database, 'bus', CHANGED, [orderId, askAgainMs], CONFIRM_PAYMENT);
        return 'paid';
      }
    } catch (error) {
      if (!(error instanceof PaymentUnknown)) throw error;
      log.warn({ orderId, error: error.message }, 'how a payment ended is not known');
      return 'unknown';
    }
    await endAttempt(database, attempt);
    return 'declined';
  };
}

/** Rejects with DatabaseUnavailable: then it is not known whether the order is paid, and paying again tells. */
export function createPayOrder(options: PaymentOptions) {
  const { database, againMs } = options;
  const settle = createSettle(options);
  return async (orderId: string): Promise<Paid> => {
    const attempt = await beginPayment(database, orderId, againMs);
    const outcome = attempt && (await settle(attempt));
    if (outcome === 'declined' || outcome === 'unknown') return outcome;
    const found = await findState(database, orderId);
    if (!found) return 'not-found';
    return found.state === 'firm' && found.paid ? 'paid' : 'not-payable';
  };
}
export type PayOrder = ReturnType<typeof createPayOrder>;
