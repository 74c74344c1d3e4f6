// What a crash, a timeout or a provider that was away left open: payments whose outcome nobody learned are asked for
// again, and what was charged for an order that is cancelled is given back, both with a growing delay. A refund that the
// provider rejects is not dropped: `sluice audit` names it. Any number of processes may do this.
import { isLogged } from '../../infra/runtime/backoff.ts';
import { Loop } from '../../infra/runtime/loop.ts';
import { createSettle, type PaymentOptions } from './pay-order.ts';
import { PaymentUnknown } from './payments/port.ts';
import { claimRefunds, markRefunded, overdueAttempts, refundsRejected } from './store/payments.ts';

const EVERY_MS = 1_000;
/** Of each kind in one turn, asked at the same time. */
const LIMIT = 50;

export function settlePayments(options: PaymentOptions): Loop {
  const { database, provider, againMs, log } = options;
  const settle = createSettle(options);

  const settleOverdue = async () => {
    const overdue = await overdueAttempts(database.background, againMs, LIMIT);
    const outcomes = await Promise.allSettled(overdue.map(settle));
    for (const [index, outcome] of outcomes.entries()) {
      const { orderId } = overdue[index] ?? {};
      if (outcome.status === 'fulfilled') {
        if (outcome.value !== 'unknown') log.info({ orderId, outcome: outcome.value }, 'asked how a payment ended');
      } else log.error({ orderId, error: String(outcome.reason) }, 'a payment cannot be settled');
    }
    return overdue.length;
  };

  const giveBack = async () => {
    const refunds = await claimRefunds(database.background, againMs, LIMIT);
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
            if (isLogged(attempts)) log.warn(about, 'whether a payment was given back is not known');
            return;
          }
          rejected.push(orderId);
          log[before ? 'warn' : 'error'](about, 'the provider rejects a refund: it is tried again, later each time');
        }
      }),
    );
    if (done.length > 0) await markRefunded(database.background, done);
    if (rejected.length > 0) await refundsRejected(database.background, rejected);
    return refunds.length;
  };

  return new Loop({
    name: 'settle payments',
    everyMs: EVERY_MS,
    log,
    turn: async () => {
      const [settled, returned] = await Promise.all([settleOverdue(), giveBack()]);
      return settled === LIMIT || returned === LIMIT;
    },
  });
}
