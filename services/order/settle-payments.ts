// What a crash, a timeout or a provider that was away left open: payments whose outcome nobody learned are asked for
// again, and what was charged for an order that is cancelled is given back. Any number of processes may do this.
import { Loop } from '../../infra/runtime/loop.ts';
import { createSettle, type PaymentOptions } from './pay-order.ts';
import { PaymentUnknown } from './payments/port.ts';
import { givenBack, overdueAttempts, takeGiveBacks } from './store/payments.ts';

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
      if (outcome.status === 'fulfilled') log.info({ orderId, outcome: outcome.value }, 'asked how a payment ended');
      else log.error({ orderId, error: String(outcome.reason) }, 'a payment cannot be settled');
    }
    return overdue.length;
  };

  const giveBack = async () => {
    const orderIds = await takeGiveBacks(database.background, againMs, LIMIT);
    const done: string[] = [];
    await Promise.all(
      orderIds.map(async (orderId) => {
        try {
          await provider.cancel(orderId);
          done.push(orderId);
        } catch (error) {
          if (error instanceof PaymentUnknown) return;
          log.error({ orderId, error: String(error) }, 'a payment cannot be given back');
        }
      }),
    );
    if (done.length > 0) await givenBack(database.background, done);
    return orderIds.length;
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
