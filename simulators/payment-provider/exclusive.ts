// A payment provider that only one process may use: two with ledgers of their own would charge an order twice.
import type { Logger } from 'pino';
import { KeptLock } from '../../infra/database/kept-lock.ts';
import type { Database } from '../../infra/database/port.ts';
import { StartupError } from '../../infra/runtime/startup-error.ts';
import { type PaymentProvider, PaymentUnknown } from '../../services/order/payments/port.ts';

/** Rejects with a StartupError when another process on this database has one. */
export async function openExclusively(
  database: Pick<Database, 'tryLock'>,
  log: Logger,
  open: () => Promise<PaymentProvider>,
): Promise<PaymentProvider> {
  const lock = new KeptLock(database, 'sluice embedded payment provider', log);
  if (!(await lock.take()))
    throw new StartupError(
      'another process on this database has a payment provider embedded: set PAYMENT_URL for both, `sluice payment-provider` is one',
    );
  const whileHeld = () => {
    if (!lock.held) throw new PaymentUnknown('another process may have the payment provider embedded by now');
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
