// `sluice flash-sale`: sends many buyers to a sale over HTTP, and compares the sale's totals with their responses.
import { Command, Option } from '@commander-js/extra-typings';
import { MAX_DRAIN_PER_SECOND, MAX_QUEUE_CAP, MAX_STOCK } from '../contracts/flash-sales.ts';
import { buyerTokens, type SignToken } from '../demos/flash-sale/buyer-tokens.ts';
import { seriesOf, svgOf } from '../demos/flash-sale/report/charts.ts';
import { reportPage } from '../demos/flash-sale/report/page.ts';
import { renderProgress, renderSummary } from '../demos/flash-sale/report/terminal.ts';
import { type Progress, type Run, simulate } from '../demos/flash-sale/run.ts';
import { failures, summarize } from '../demos/flash-sale/summary.ts';
import { CliError } from '../demos/shared/errors.ts';
import { expectWritable, writeOutput } from '../demos/shared/files.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import { startEmbedded } from '../demos/shared/sluice-processes.ts';
import { note, redraw } from '../demos/shared/terminal.ts';
import { loadEnvFile } from './env-file.ts';
import { httpUrl, jsonOption, type OptionsOf, printResult, tokenOption, wrapped } from './options.ts';
import { startError } from './start-error.ts';

const help = `
Examples:
  $ sluice flash-sale
  $ sluice flash-sale --buyers 2000 --stock 300 --queue 50 --report sale.html

Half of the buyers arrive within the first tenth of the time, some of them before the sale opens. If the queue is full,
30 % of the buyers leave at once; the others come back after Retry-After, up to --patience times. Requests without a
response are resent, which is safe: a buyer who already holds a ticket gets the same one back. The same seed gives the
same buyers at the same times.

Where the server wants tokens, --token must be that of an operator, who creates the sale. The buyers' tokens are signed
here, so the command needs the settings of the server: AUTH_SECRET, or DATA_DIR.

Exit code 1 if the sale's totals do not match the buyers' responses.`;

const command = () =>
  new Command('flash-sale')
    .description('simulate a flash sale: send buyers, show their responses, and check the totals of the sale')
    .option('--buyers <n>', 'number of different buyers', numberBetween(1, 200_000), 10_000)
    .option('--stock <units>', 'units for sale; each buyer gets at most one', numberBetween(1, MAX_STOCK), 500)
    .option('--queue <n>', 'maximum number of waiting tickets', numberBetween(1, MAX_QUEUE_CAP), 200)
    .option(
      '--drain <n>',
      'tickets that leave the queue per second; each becomes an order',
      numberBetween(1, MAX_DRAIN_PER_SECOND),
      100,
    )
    .option('--seconds <s>', 'seconds within which all buyers arrive', numberBetween(0.1, 3_600, 'number'), 10)
    .option('--seed <n>', 'seed of the random numbers', numberBetween(0, 2 ** 32 - 1), 7)
    .option('--repeat <percent>', 'percentage of buyers who send a second purchase', numberBetween(0, 100, 'number'), 5)
    .option(
      '--patience <times>',
      'maximum number of times that a buyer comes back after a full queue',
      numberBetween(0, 100),
      3,
    )
    .option(
      '--timeout <s>',
      'seconds to wait for the last orders, in addition to the time in which the queue drains',
      numberBetween(0, 86_400),
      120,
    )
    .addOption(
      new Option('--url <url>', 'URL of the Sluice server; without it, an embedded system is started')
        .env('SLUICE_URL')
        .argParser(httpUrl),
    )
    .addOption(tokenOption())
    .option('--report <file>', 'write a report with charts to this HTML file')
    .option('--svg <file>', 'write the charts to this SVG file')
    .addOption(jsonOption())
    .addHelpText('after', wrapped(help));
type FlashSaleOptions = OptionsOf<typeof command>;

export const flashSaleCommand = () =>
  command().action((options) => untilInterrupted((signal) => flashSale(options, signal)));

async function flashSale(options: FlashSaleOptions, signal: AbortSignal): Promise<void> {
  await expectWritable(options.report, options.svg);
  const run = await runWith(options, signal);
  const summary = summarize(run);
  printResult(options.json, summary, renderSummary);
  if (options.report !== undefined) await writeOutput(options.report, reportPage(summary, seriesOf(run)));
  if (options.svg !== undefined) await writeOutput(options.svg, svgOf(summary, seriesOf(run)));
  const failed = failures(summary);
  if (failed.length > 0)
    throw new CliError(failed.map(({ name, text }) => `check failed: ${name}: ${text}`).join('\n'));
}

async function runWith(options: FlashSaleOptions, signal: AbortSignal): Promise<Run> {
  if (options.url !== undefined) {
    loadEnvFile('.env', process.env);
    const signToken = await buyerTokens(options.url, process.env, signal).catch((error) => {
      throw startError(error);
    });
    if (signToken) note('the server wants tokens: each buyer gets its own, signed here');
    return run(options.url, options, signal, signToken);
  }
  note('no --url and no SLUICE_URL: starting an embedded system in a temporary folder');
  const system = await startEmbedded({ name: 'flash-sale', signal });
  try {
    return await run(system.process.url, options, signal);
  } finally {
    await system.close();
  }
}

async function run(
  url: string,
  options: FlashSaleOptions,
  signal: AbortSignal,
  signToken?: SignToken | undefined,
): Promise<Run> {
  const { buyers, stock, queue, drain, seconds, seed, repeat, patience, timeout } = options;
  const settings = { buyers, stock, queue, drain, seconds, seed, repeat, patience, timeoutSeconds: timeout };
  let latest: Progress | undefined;
  const removeDisplay = redraw((ms) => (latest ? renderProgress(latest, ms) : []));
  try {
    const onProgress = (progress: Progress) => {
      latest = progress;
    };
    return await simulate({ url, settings, signal, signToken, onProgress });
  } finally {
    removeDisplay();
  }
}
