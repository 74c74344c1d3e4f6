// Settles the payments that a crash, a timeout or an outage of the provider left open: repeats charges without a known
// outcome, and refunds the charges of cancelled orders, both with a growing delay. A refund that the provider rejects
// stays due, and `sluice audit` names it. Any number of processes may run this at the same time.
import { pollingLoop } from '../../infra/database/poll.ts';
import { isLogged } from '../../infra/runtime/backoff.ts';
import type { Loop } from '../../infra/runtime/loop.ts';
import { createSettle, type PaymentOptions } from './pay-order.ts';
import { PaymentUnknown } from './payments/port.ts';
import {
  claimOverdueAttempts,
  claimRefunds,
  markRefunded,
  markRefundRejected,
  NEXT_PAYMENT,
} from './store/payments.ts';

/** Charges, and refunds, in one turn; their calls run concurrently. */
const LIMIT = 50;

export function settlePayments(options: PaymentOptions): Loop {
  const { database, provider, retryAfterMs, log } = options;
  const settle = createSettle(options);

  const settleOverdue = async () => {
    const overdue = await claimOverdueAttempts(database.background, retryAfterMs, LIMIT);
    const outcomes = await Promise.allSettled(overdue.map(settle));
    for (const [index, outcome] of outcomes.entries()) {
      const { orderId } = overdue[index] ?? {};
      if (outcome.status === 'fulfilled') {
        if (outcome.value !== 'unknown') log.info({ orderId, outcome: outcome.value }, 'a payment is settled');
      } else log.error({ orderId, error: String(outcome.reason) }, 'a payment cannot be settled');
    }
    return overdue.length;
  };

  const refundDue = async () => {
    const refunds = await claimRefunds(database.background, retryAfterMs, LIMIT);
    const done: string[] = [];
    const rejected: string[] = [];
    await Promise.all(
      refunds.map(async ({ orderId, attempts, rejected: before }) => {
        try {
          await provider.cancel(orderId);
          done.push(orderId);
        } catch (error) {
          const about = { orderId, attempts, error: String(error) };
          if (error instanceof PaymentUnknown) {
            if (isLogged(attempts)) log.warn(about, 'the outcome of a refund is unknown');
            return;
          }
          rejected.push(orderId);
          const message = 'the payment provider rejects a refund; it is retried with a growing delay';
          log[before ? 'warn' : 'error'](about, message);
        }
      }),
    );
    if (done.length > 0) await markRefunded(database.background, done);
    if (rejected.length > 0) await markRefundRejected(database.background, rejected);
    return refunds.length;
  };

  return pollingLoop({
    name: 'settle payments',
    everyMs: 1_000,
    database: database.background,
    nextDue: NEXT_PAYMENT,
    log,
    turn: async () => {
      const [settled, refunded] = await Promise.all([settleOverdue(), refundDue()]);
      return settled === LIMIT || refunded === LIMIT;
    },
  });
}
