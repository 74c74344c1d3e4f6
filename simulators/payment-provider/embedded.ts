// The simulated payment provider inside this process, for when PAYMENT_URL is not set. Like a real provider it is
// called over HTTP, on a random port of the loopback interface.
import type { Logger } from 'pino';
import type { Database } from '../../infra/database/port.ts';
import { ResilientLock } from '../../infra/database/resilient-lock.ts';
import { DataDirInUse } from '../../infra/runtime/data-dir.ts';
import { Loop } from '../../infra/runtime/loop.ts';
import { StartupError } from '../../infra/runtime/startup-error.ts';
import { openHttpProvider } from '../../services/order/payments/http-provider.ts';
import { type PaymentProvider, PaymentUnknown } from '../../services/order/payments/port.ts';
import { SimulatedProvider, type SimulatedProviderOptions } from './simulated-provider.ts';

/** How often a lost lock is noticed. The lock limits its attempts to one a second by itself. */
const REACQUIRE_MS = 250;

type Options = Pick<SimulatedProviderOptions, 'dataDir' | 'log'> & { readonly timeoutMs: number };

/** `url`: where other threads of this process call it. */
export type EmbeddedProvider = PaymentProvider & { readonly url: string };

/** Rejects with a StartupError if another process uses the same ledger: two would charge one order twice. */
export async function openEmbeddedProvider({ dataDir, timeoutMs, log }: Options): Promise<EmbeddedProvider> {
  const simulated = await SimulatedProvider.start({ dataDir, port: 0, log }).catch((error) => {
    if (!(error instanceof DataDirInUse)) throw error;
    throw new StartupError(
      `the payment provider's ledger in ${dataDir} is in use by another process: stop that one, or set PAYMENT_URL to a provider for both`,
      { cause: error },
    );
  });
  const provider = openHttpProvider({ url: simulated.url, timeoutMs });
  log.info({ url: simulated.url }, 'payment provider simulated');
  return {
    ...provider,
    url: simulated.url,
    close: () => provider.close().then(() => simulated.stop()),
  };
}

/**
 * Lets one process on a database embed a payment provider: two with separate ledgers would charge one order twice.
 * Rejects with a StartupError if another process on this database embeds one.
 */
export async function openExclusively(
  database: Pick<Database, 'tryLock'>,
  log: Logger,
  open: () => Promise<EmbeddedProvider>,
): Promise<EmbeddedProvider> {
  const lock = new ResilientLock({ database, name: 'sluice embedded payment provider', log });
  if (!(await lock.tryAcquire()))
    throw new StartupError(
      'another process on this database embeds a payment provider: start `sluice payment-provider`, and set PAYMENT_URL to its URL for both',
    );
  const whileHeld = async <T>(call: () => Promise<T>): Promise<T> => {
    if (!lock.held) throw new PaymentUnknown('the lock is lost: another process may embed the payment provider now');
    return call();
  };
  const reacquiring = new Loop({
    name: 'reacquire the lock of the payment provider',
    everyMs: REACQUIRE_MS,
    log,
    turn: async () => {
      // Rejects while the database is away; the next turn tries again.
      if (!lock.held && (await lock.tryAcquire().catch(() => false)))
        log.info('lock reacquired, payments are possible again');
    },
  });
  const release = async () => {
    await reacquiring.stop();
    await lock.release();
  };
  const provider = await open().catch(async (error) => {
    await release();
    throw error;
  });
  reacquiring.start();
  return {
    url: provider.url,
    charge: (charge) => whileHeld(() => provider.charge(charge)),
    cancel: (orderId) => whileHeld(() => provider.cancel(orderId)),
    close: async () => {
      try {
        await provider.close();
      } finally {
        await release();
      }
    },
  };
}
