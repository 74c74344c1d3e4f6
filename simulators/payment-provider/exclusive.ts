// Lets one process on a database embed a payment provider: two with separate ledgers would charge one order twice.
import type { Logger } from 'pino';
import type { Database } from '../../infra/database/port.ts';
import { ResilientLock } from '../../infra/database/resilient-lock.ts';
import { StartupError } from '../../infra/runtime/startup-error.ts';
import { type PaymentProvider, PaymentUnknown } from '../../services/order/payments/port.ts';

/** Rejects with a StartupError if another process on this database embeds one. */
export async function openExclusively(
  database: Pick<Database, 'tryLock'>,
  log: Logger,
  open: () => Promise<PaymentProvider>,
): Promise<PaymentProvider> {
  const lock = new ResilientLock(database, 'sluice embedded payment provider', log);
  if (!(await lock.acquire()))
    throw new StartupError(
      'another process on this database embeds a payment provider: set PAYMENT_URL for both, such as to `sluice payment-provider`',
    );
  const whileHeld = () => {
    if (!lock.held) throw new PaymentUnknown('the lock is lost: another process may embed the payment provider now');
  };
  try {
    const provider = await open();
    return {
      charge: async (charge) => {
        whileHeld();
        return provider.charge(charge);
      },
      cancel: async (orderId) => {
        whileHeld();
        await provider.cancel(orderId);
      },
      close: async () => {
        try {
          await provider.close();
        } finally {
          await lock.release();
        }
      },
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}
