// `sluice flash-sale`: sends a crowd of buyers to a sale, over HTTP, and checks the sale's totals against what they were told.
import { Command, Option } from 'commander';
import { MAX_DRAIN_PER_SECOND, MAX_QUEUE_CAP, MAX_STOCK } from '../contracts/flash-sales.ts';
import { createDisplay } from '../demos/flash-sale/display.ts';
import { svgOf } from '../demos/flash-sale/report/charts.ts';
import { reportPage } from '../demos/flash-sale/report/page.ts';
import { renderSummary } from '../demos/flash-sale/report/terminal.ts';
import { type Run, simulate } from '../demos/flash-sale/run.ts';
import { seriesOf } from '../demos/flash-sale/series.ts';
import type { Settings } from '../demos/flash-sale/settings.ts';
import { failures, summarize } from '../demos/flash-sale/summary.ts';
import { CliError } from '../demos/shared/errors.ts';
import { expectWritable, writeOutput } from '../demos/shared/files.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import { startEmbedded } from '../demos/shared/sluice-processes.ts';
import { note, print, printJson } from '../demos/shared/terminal.ts';
import { jsonOption, urlOf } from './options.ts';

interface FlashSaleOptions extends Omit<Settings, 'timeoutSeconds'> {
  readonly timeout: number;
  readonly url?: string;
  readonly report?: string;
  readonly svg?: string;
  readonly json?: true;
}

const examples = `
Examples:
  $ sluice flash-sale
  $ sluice flash-sale --buyers 2000 --stock 300 --queue 50 --drain 60 --report sale.html

Half of the buyers come within the first tenth of the time, some a moment too early. Who is told that the queue is full
comes again after Retry-After, as often as this buyer's patience lasts; a third leaves at once. Requests without an
answer are sent again, which is safe: a buyer with a ticket gets the same ticket. The same seed gives the same buyers at
the same times.`;

export const flashSaleCommand = () =>
  new Command('flash-sale')
    .description('simulate a flash sale: send a crowd of buyers, show their outcomes, and check the totals')
    .option('--buyers <n>', 'different buyers', numberBetween(1, 200_000), 10_000)
    .option('--stock <units>', 'units for sale, one for each buyer', numberBetween(1, MAX_STOCK), 500)
    .option('--queue <n>', 'tickets that wait at a time, at most', numberBetween(1, MAX_QUEUE_CAP), 200)
    .option('--drain <n>', 'orders per second', numberBetween(1, MAX_DRAIN_PER_SECOND), 100)
    .option('--seconds <s>', 'in which all buyers come first', numberBetween(0.1, 3_600, 'number'), 10)
    .option('--seed <n>', 'of the random numbers', numberBetween(0, 2 ** 32 - 1), 7)
    .option('--repeat <percent>', 'buyers who come twice', numberBetween(0, 100, 'number'), 5)
    .option('--patience <times>', 'how often a buyer comes again, at most', numberBetween(0, 100), 3)
    .option('--timeout <s>', 'how much later than at its pace the queue may be done', numberBetween(0, 86_400), 120)
    .addOption(
      new Option('--url <url>', 'where Sluice answers (default: an embedded system, started for this)')
        .env('SLUICE_URL')
        .argParser(urlOf('http', 'https')),
    )
    .option('--report <file>', 'write a page with charts to this file (HTML)')
    .option('--svg <file>', 'write the charts to this file')
    .addOption(jsonOption())
    .addHelpText('after', examples)
    .action((options: FlashSaleOptions) => untilInterrupted((signal) => flashSale(options, signal)));

async function flashSale(options: FlashSaleOptions, signal: AbortSignal): Promise<void> {
  await expectWritable(options.report, options.svg);
  const run = await runWith(options, signal);
  const summary = summarize(run);
  if (options.json) printJson(summary);
  else for (const line of renderSummary(summary)) print(line);
  if (options.report !== undefined) await writeOutput(options.report, reportPage(summary, seriesOf(run)));
  if (options.svg !== undefined) await writeOutput(options.svg, svgOf(summary, seriesOf(run)));
  const failed = failures(summary);
  if (failed.length > 0)
    throw new CliError(failed.map(({ name, text }) => `does not hold: ${name}: ${text}`).join('\n'));
}

async function runWith(options: FlashSaleOptions, signal: AbortSignal): Promise<Run> {
  if (options.url !== undefined) return run(options.url, options, signal);
  note('no --url and no SLUICE_URL: starting an embedded system for this, in a temporary folder');
  const system = await startEmbedded({ name: 'flash-sale', signal });
  try {
    return await run(system.process.url, options, signal);
  } finally {
    await system.close();
  }
}

async function run(url: string, options: FlashSaleOptions, signal: AbortSignal): Promise<Run> {
  const { buyers, stock, queue, drain, seconds, seed, repeat, patience, timeout } = options;
  const settings = { buyers, stock, queue, drain, seconds, seed, repeat, patience, timeoutSeconds: timeout };
  const display = createDisplay();
  try {
    return await simulate({ url, settings, signal, onProgress: display.update });
  } finally {
    display.stop();
  }
}
