// The simulated payment provider inside this process, if PAYMENT_URL is not set. Like a real provider it is reached over
// HTTP, at a random port of the loopback interface.
import type { Logger } from 'pino';
import { DataDirInUse } from '../../infra/runtime/data-dir-errors.ts';
import { StartupError } from '../../infra/runtime/startup-error.ts';
import { openHttpProvider } from '../../services/order/payments/http-provider.ts';
import type { PaymentProvider } from '../../services/order/payments/port.ts';
import { startSimulatedProvider } from './simulated-provider.ts';

export interface EmbeddedProviderOptions {
  readonly dataDir: string;
  readonly timeoutMs: number;
  readonly log: Logger;
}

/** Rejects with a StartupError where another process uses the same ledger: each would charge what the other one has. */
export async function openEmbeddedProvider({ dataDir, timeoutMs, log }: EmbeddedProviderOptions) {
  const simulated = await startSimulatedProvider({ dataDir, port: 0, log }).catch((error) => {
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
    close: async () => {
      await provider.close();
      await simulated.close();
    },
  } satisfies PaymentProvider;
}
