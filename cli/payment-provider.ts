// `sluice payment-provider`: the simulated payment provider as a process of its own.
import { Command, Option } from 'commander';
import { CliError } from '../demos/shared/errors.ts';
import { aborted, untilInterrupted } from '../demos/shared/interrupt.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import { StartupError } from '../infra/runtime/startup-error.ts';

interface PaymentProviderOptions {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly decline?: number;
  readonly declineEvery?: number;
  readonly delay?: number;
  readonly decideLate?: number;
  readonly answerLate?: number;
  readonly away?: true;
}

const examples = `
Examples:
  $ sluice payment-provider &
  $ PAYMENT_URL=http://127.0.0.1:3010 sluice start
  $ sluice payment-provider --decline 0.1 --delay 200      a tenth is declined, each answer takes 0.2 s

While it runs: PUT /behaviour with { declineEvery, declineShare, delayMs, decideLateMs, answerLateMs, away } changes how
it behaves, GET /charges shows its ledger. Whatever it is told, an order is charged at most once. No money moves.`;

const milliseconds = (flags: string, about: string) =>
  new Option(`${flags} <ms>`, about).argParser(numberBetween(0, 600_000));

export const paymentProviderCommand = () =>
  new Command('payment-provider')
    .description('run a simulated payment provider, which can be told to misbehave, until SIGINT or SIGTERM')
    .addOption(new Option('--host <address>', 'address to listen on').env('HOST').default('127.0.0.1'))
    .addOption(
      new Option('--port <port>', 'port; 0 takes a free one').default(3010).argParser(numberBetween(0, 65_535)),
    )
    .addOption(new Option('--data-dir <folder>', 'where its ledger is kept').env('DATA_DIR').default('.data'))
    .addOption(
      new Option('--decline <share>', 'decline this share of the charges, at random').argParser(
        numberBetween(0, 1, 'number'),
      ),
    )
    .addOption(
      new Option('--decline-every <n>', 'decline each n-th charge; 1: all').argParser(numberBetween(0, 1_000_000)),
    )
    .addOption(milliseconds('--delay', 'wait before looking at a request'))
    .addOption(milliseconds('--decide-late', 'decide a charge after this, also when nobody waits any more'))
    .addOption(milliseconds('--answer-late', 'act at once, answer after this'))
    .option('--away', 'hang up on every request')
    .addHelpText('after', examples)
    .action((options: PaymentProviderOptions) => untilInterrupted((signal) => paymentProvider(options, signal)));

async function paymentProvider(options: PaymentProviderOptions, signal: AbortSignal): Promise<void> {
  const { host, port, dataDir } = options;
  // Imported here, because the other commands need none of it.
  const { createLog } = await import('../infra/observability/log.ts');
  const { startSimulatedProvider } = await import('../simulators/payment-provider/simulated-provider.ts');
  const log = createLog({ level: 'debug', pretty: process.stdout.isTTY === true });
  const told = {
    declineShare: options.decline,
    declineEvery: options.declineEvery,
    delayMs: options.delay,
    decideLateMs: options.decideLate,
    answerLateMs: options.answerLate,
    away: options.away,
  };
  try {
    const provider = await startSimulatedProvider({ dataDir, host, port, behaviour: told, log });
    log.info({ url: provider.url }, `ready on ${provider.url}`);
    await aborted(signal);
    await provider.close();
    log.info('stopped');
  } catch (error) {
    if (error instanceof StartupError) throw new CliError(error.message, { cause: error });
    throw error;
  }
}
