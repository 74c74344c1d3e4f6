// Paying an order: it is `paying` before the provider is asked, so that it cannot expire meanwhile, and it stays so until
// somebody knows the outcome: this request, a repeated one, or the sweep (settle-payments.ts). The order's id is the
// provider's idempotency key, so all of them get one charge.
import type { Logger } from 'pino';
import type { Database } from '../../infra/database/port.ts';
import type { Outbox } from '../../infra/messaging/outbox.ts';
import { isLogged } from '../../infra/runtime/backoff.ts';
import { failpoint } from './failpoints.ts';
import { type PaymentProvider, PaymentUnknown } from './payments/port.ts';
import { CHANGED, findState } from './store/orders.ts';
import { type Attempt, beginPayment, CONFIRM_PAYMENT, endAttempt } from './store/payments.ts';

/**
 * `unknown`: the provider has not answered. It is asked again until it does, and until then the order cannot expire.
 * `rejected`: it does not take such a charge, which a retry does not change; the order waits, and may expire.
 */
export type Paid = 'paid' | 'declined' | 'rejected' | 'unknown' | 'not-payable' | 'not-found';

export interface PaymentOptions {
  readonly database: Database;
  readonly outbox: Outbox;
  readonly provider: PaymentProvider;
  readonly resendAfterMs: number;
  /** After this, an attempt without a known outcome is taken up again: must exceed the provider's timeout. */
  readonly againMs: number;
  readonly log: Logger;
}

/** Asks the provider, and records what it says. */
export function createSettle({ database, outbox, provider, resendAfterMs, log }: PaymentOptions) {
  return async (attempt: Attempt): Promise<'paid' | 'declined' | 'rejected' | 'unknown'> => {
    const { orderId, amount, currency, retries } = attempt;
    let outcome: 'approved' | 'declined' | 'rejected';
    try {
      failpoint('payment.before-charge');
      outcome = await provider.charge({ orderId, amount, currency });
    } catch (error) {
      if (error instanceof PaymentUnknown) {
        if (isLogged(retries + 1))
          log.warn({ orderId, attempts: retries + 1, error: error.message }, 'how a payment ended is not known');
        return 'unknown';
      }
      log.error({ orderId, error: String(error) }, 'the provider rejects this payment');
      outcome = 'rejected';
    }
    if (outcome === 'approved') {
      failpoint('payment.after-charge');
      await outbox.writeAtOnce(database, 'bus', CHANGED, [orderId, resendAfterMs], CONFIRM_PAYMENT);
      return 'paid';
    }
    await endAttempt(database, attempt);
    return outcome;
  };
}

/** Rejects with DatabaseUnavailable: then it is not known whether the order is paid, and paying again tells. */
export function createPayOrder(options: PaymentOptions) {
  const { database, againMs } = options;
  const settle = createSettle(options);
  return async (orderId: string): Promise<Paid> => {
    const attempt = await beginPayment(database, orderId, againMs);
    const outcome = attempt && (await settle(attempt));
    if (outcome !== undefined && outcome !== 'paid') return outcome;
    const found = await findState(database, orderId);
    if (!found) return 'not-found';
    return found.state === 'firm' && found.paid ? 'paid' : 'not-payable';
  };
}
export type PayOrder = ReturnType<typeof createPayOrder>;
