// Paying an order. The order is `paying` before the provider is called, so that it cannot expire meanwhile, and stays
// so until the outcome is known to this request, a repeated one or the sweep (settle-payments.ts). The order's id is
// the provider's idempotency key, so all of them together make one charge.
import { storable } from '../../infra/messaging/envelope.ts';
import { isLogged } from '../../infra/runtime/backoff.ts';
import { reasonOf } from '../../infra/runtime/reason.ts';
import type { ServiceContext } from '../../infra/runtime/service.ts';
import { failpoint } from './failpoints.ts';
import { type ChargeOutcome, type PaymentProvider, PaymentUnknown } from './payments/port.ts';
import { findState } from './store/orders.ts';
import { type Attempt, beginPayment, CONFIRM_PAYMENT, endAttempt } from './store/payments.ts';

/**
 * - `unknown`: the provider has not responded. The sweep repeats the call; until the provider responds, the order
 *   cannot expire.
 * - `rejected`: the provider does not accept the charge, and a retry would not help. The order awaits payment again.
 */
type Settled = 'paid' | 'declined' | 'rejected' | 'unknown';

export type PayResult = Settled | 'not-payable' | 'not-found';

export interface PaymentOptions extends Pick<ServiceContext<unknown>, 'database' | 'outbox' | 'log'> {
  readonly provider: PaymentProvider;
  readonly resendAfterMs: number;
  /** The sweep takes over an attempt without a known outcome after this. Must exceed the provider's timeout. */
  readonly retryAfterMs: number;
}

/** Returns a function that charges an order and records the outcome. */
export function createSettle({ database, outbox, provider, resendAfterMs, log }: PaymentOptions) {
  return async (attempt: Attempt): Promise<Settled> => {
    const { orderId, amount, currency, retries } = attempt;
    const startedAt = performance.now();
    let outcome: ChargeOutcome | 'rejected';
    let rejection: string | undefined;
    try {
      failpoint('payment.before-charge');
      outcome = await provider.charge({ orderId, amount, currency });
    } catch (error) {
      if (error instanceof PaymentUnknown) {
        if (isLogged(retries + 1))
          log.warn({ orderId, attempts: retries + 1, error: error.message }, 'the outcome of a payment is unknown');
        return 'unknown';
      }
      log.error({ orderId, error: String(error) }, 'the payment provider rejects a charge');
      outcome = 'rejected';
      rejection = storable(reasonOf(error));
    }
    if (outcome === 'approved') {
      failpoint('payment.after-charge');
      await outbox.write(database, CONFIRM_PAYMENT, orderId, resendAfterMs);
      return 'paid';
    }
    const durationMs = Math.round(performance.now() - startedAt);
    await endAttempt(database, attempt, { outcome, error: rejection ?? outcome, durationMs });
    return outcome;
  };
}

/** Rejects with DatabaseUnavailable; the order may then be paid or not, and paying again tells. */
export function createPayOrder(options: PaymentOptions) {
  const { database, retryAfterMs } = options;
  const settle = createSettle(options);
  return async (orderId: string): Promise<PayResult> => {
    const attempt = await beginPayment(database, orderId, retryAfterMs);
    const outcome = attempt && (await settle(attempt));
    if (outcome !== undefined && outcome !== 'paid') return outcome;
    const found = await findState(database, orderId);
    if (!found) return 'not-found';
    return found.state === 'confirmed' && found.paid ? 'paid' : 'not-payable';
  };
}
export type PayOrder = ReturnType<typeof createPayOrder>;
