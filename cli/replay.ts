// `sluice replay FILE`: places the invoices of a CSV file as orders, and accounts for every line of the file.
import { Command, Option } from '@commander-js/extra-typings';
import { Counters } from '../demos/replay/counters.ts';
import { readLines } from '../demos/replay/csv.ts';
import { Follower } from '../demos/replay/follow.ts';
import { type Collected, collectInvoices } from '../demos/replay/invoices.ts';
import { placeAll } from '../demos/replay/place.ts';
import { renderReport, shortcomings } from '../demos/replay/report.ts';
import { CliError } from '../demos/shared/errors.ts';
import { HttpClient } from '../demos/shared/http.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import { count, note, withProgress } from '../demos/shared/terminal.ts';
import { currencyOption, jsonOption, type OptionsOf, printResult, urlOption, wrapped } from './options.ts';

const help = `
Examples:
  $ sluice replay samples/online-retail-2010-12-01_to_03.csv --max
  # two hours of the shop in a second
  $ sluice replay samples/online-retail-2010-12-01_to_03.csv --speed 7200

The columns are those of UCI's Online Retail. Prices are decimal, in the major unit of --currency. The invoice number is
the Idempotency-Key, so an interrupted replay can be run again: no invoice is ordered twice.

Exit code 1 if a line or invoice is not accounted for, if an invoice could not be placed, or if an order is not
completed.`;

const command = () =>
  new Command('replay')
    .description('place the invoices of a CSV file as orders, wait for their completion, and account for every line')
    .argument('<file>', 'CSV file with the columns of the data set Online Retail')
    .addOption(
      new Option('--speed <times>', 'how many times faster than the invoices were written')
        .default(3_600)
        .argParser(numberBetween(0.001, 1_000_000, 'number')),
    )
    .addOption(new Option('--max', 'place orders as fast as they are accepted').conflicts('speed'))
    .option('--concurrency <n>', 'maximum number of concurrent requests', numberBetween(1, 1_000), 32)
    .option('--retry-seconds <s>', 'how long to retry an invoice, in seconds', numberBetween(0, 3_600), 60)
    .option('--timeout <s>', 'seconds to wait for completion after the last order', numberBetween(0, 86_400), 120)
    .addOption(currencyOption())
    .addOption(urlOption())
    .addOption(jsonOption())
    .addHelpText('after', wrapped(help));
type ReplayOptions = OptionsOf<typeof command>;

export const replayCommand = () =>
  command().action((file, options) => untilInterrupted((signal) => replay(file, options, signal)));

async function replay(file: string, options: ReplayOptions, signal: AbortSignal): Promise<void> {
  const collected = await read(file, options, signal);
  const http = new HttpClient(options.url, options.concurrency);
  try {
    await http.request('GET', '/healthz', { signal }); // fails at once if the server is not running
    const report = { file, ...(await run(collected, http, options, signal)) };
    printResult(options.json, report, renderReport);
    const problems = shortcomings(report);
    if (problems.length > 0) throw new CliError(problems.join('; '));
  } finally {
    await http.close();
  }
}

const read = (file: string, { currency }: ReplayOptions, signal: AbortSignal): Promise<Collected> =>
  withProgress('reading   ', undefined, (update) =>
    collectInvoices(readLines(file), currency, (linesRead) => {
      signal.throwIfAborted();
      update(linesRead);
    }),
  );

async function run(
  collected: Collected,
  http: HttpClient,
  { currency, concurrency, ...options }: ReplayOptions,
  signal: AbortSignal,
) {
  const counters = new Counters(collected);
  const follower = new Follower();
  const total = collected.invoices.length;
  const speed = options.max ? undefined : options.speed;
  const retryMs = options.retrySeconds * 1_000;
  const startedAt = performance.now();
  try {
    await withProgress('placing   ', total, (update) =>
      placeAll(collected.invoices, { http, currency, speed, concurrency, retryMs, signal }, (placement) => {
        counters.add(placement);
        if (placement.kind === 'ordered') follower.record(placement.order);
        update(counters.placements);
      }),
    );
  } catch (error) {
    if (signal.aborted)
      note(`${count(counters.placements)} of ${count(total)} invoices were processed; run it again to resume`);
    throw error;
  }
  const placingMs = performance.now() - startedAt;
  const done = () => follower.completedAfterMs.length;
  await withProgress('completing', done() + follower.incomplete.size, (update) =>
    follower.wait({ http, concurrency, signal }, options.timeout * 1_000, () => update(done())),
  );
  return counters.report(placingMs, follower);
}
