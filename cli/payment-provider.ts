// `sluice payment-provider`: runs the simulated payment provider as a process.
import { Command, Option } from '@commander-js/extra-typings';
import { aborted, untilInterrupted } from '../demos/shared/interrupt.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import { type OptionsOf, wrapped } from './options.ts';
import { startError } from './start-error.ts';

const help = `
Examples:
  $ sluice payment-provider &
  $ PAYMENT_URL=http://127.0.0.1:3010 sluice start
  # declines a tenth of the charges; each response takes 0.2 s
  $ sluice payment-provider --decline 0.1 --delay 200

PUT /behaviour with { declineEvery, declineShare, delayMs, decideLateMs, respondLateMs, away } changes the behaviour of a
running provider, and GET /charges shows its ledger. An order is charged at most once in every case. No money moves.`;

const milliseconds = numberBetween(0, 600_000);

const command = () =>
  new Command('payment-provider')
    .description('run a simulated payment provider, which can be made to misbehave, until SIGINT or SIGTERM')
    .addOption(new Option('--host <address>', 'address to listen on').env('HOST').default('127.0.0.1'))
    .option('--port <port>', 'port to listen on; 0 picks a free port', numberBetween(0, 65_535), 3010)
    .addOption(new Option('--data-dir <folder>', 'folder for its ledger').env('DATA_DIR').default('.data'))
    .option('--decline <share>', 'decline this share of the charges, from 0 to 1', numberBetween(0, 1, 'number'))
    .option('--decline-every <n>', 'decline each n-th charge; 1 declines all', numberBetween(0, 1_000_000))
    .option('--delay <ms>', 'wait this long before a request is handled', milliseconds)
    .option('--decide-late <ms>', 'decide a charge after this time, even if its client has hung up', milliseconds)
    .option('--respond-late <ms>', 'act immediately, but respond after this time', milliseconds)
    .option('--away', 'close the connection of every charge and cancellation without a response')
    .addHelpText('after', wrapped(help));

export const paymentProviderCommand = () =>
  command().action((options) => untilInterrupted((signal) => paymentProvider(options, signal)));

async function paymentProvider(options: OptionsOf<typeof command>, signal: AbortSignal): Promise<void> {
  const { host, port, dataDir } = options;
  // Imported here, because no other command needs it.
  const { createLog } = await import('../infra/observability/log.ts');
  const { sendConsoleTo } = await import('../infra/observability/console.ts');
  const { SimulatedProvider } = await import('../simulators/payment-provider/simulated-provider.ts');
  const log = createLog({ level: 'debug', pretty: process.stdout.isTTY === true });
  sendConsoleTo(log);
  const behaviour = {
    declineShare: options.decline,
    declineEvery: options.declineEvery,
    delayMs: options.delay,
    decideLateMs: options.decideLate,
    respondLateMs: options.respondLate,
    away: options.away,
  };
  try {
    const provider = await SimulatedProvider.start({ dataDir, host, port, behaviour, log });
    log.info({ url: provider.url }, `ready on ${provider.url}`);
    await aborted(signal);
    await provider.stop();
    log.info('stopped');
  } catch (error) {
    throw startError(error);
  }
}
