// `sluice replay FILE`: places the invoices of a CSV file as orders, and accounts for every line of the file.
import { Command, Option } from '@commander-js/extra-typings';
import { Counters } from '../demos/replay/counters.ts';
import { readLines, recogniseFormat } from '../demos/replay/csv.ts';
import { dateOrders } from '../demos/replay/dates.ts';
import { Follower } from '../demos/replay/follow.ts';
import { type Format, formatFacts, renderFormat } from '../demos/replay/format.ts';
import { type Collected, collectInvoices } from '../demos/replay/invoices.ts';
import { placeAll } from '../demos/replay/place.ts';
import { renderReport, shortcomings } from '../demos/replay/report.ts';
import { Source } from '../demos/replay/source.ts';
import { CliError } from '../demos/shared/errors.ts';
import { HttpClient } from '../demos/shared/http.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import { count, note, withProgress } from '../demos/shared/terminal.ts';
import { currencyOption, jsonOption, type OptionsOf, printResult, tokenOption, urlOption, wrapped } from './options.ts';

const help = `
Examples:
  $ sluice replay samples/online-retail-2010-12-01_to_03.csv --max
  # two hours of the shop in a second
  $ sluice replay samples/online-retail-2010-12-01_to_03.csv --speed 7200
  # from standard input
  $ zcat invoices.csv.gz | sluice replay - --max

The columns are those of UCI's Online Retail or Online Retail II, in any order, among others. Prices are in the major
unit of --currency. The invoice number is the Idempotency-Key, so an interrupted replay can be run again, also with
another copy of the file: no invoice is ordered twice.

The whole file is judged before the first order is placed, and what was recognised is printed: the encoding (UTF-8,
UTF-16 or Windows-1252), the delimiter (comma, semicolon, tab, bar, or declared by sep=), the decimal mark, the layout,
and the date order. Gzip is decompressed. Standard input is stored in a temporary file, up to 4 GiB. A file has at most
2,000,000 lines.

Dates that begin with the day or the month: a number above 12 in first place proves that the day is first, one in second
place that the month is. A file with both is rejected. Without a proof, the order in which the file covers less time is
taken, and --date-order selects the other one.

Exit code 1 if a line or invoice is not accounted for, if an invoice could not be placed, or if an order is not
completed.`;

const command = () =>
  new Command('replay')
    .description('place the invoices of a CSV file as orders, wait for their completion, and account for every line')
    .argument('<file>', 'CSV file with the columns of the data set Online Retail, or - for standard input')
    .addOption(
      new Option('--date-order <order>', 'order of day, month and year, instead of what the file proves').choices(
        dateOrders,
      ),
    )
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
    .addOption(tokenOption())
    .addOption(jsonOption())
    .addHelpText('after', wrapped(help));
type ReplayOptions = OptionsOf<typeof command>;

export const replayCommand = () =>
  command().action((file, options) => untilInterrupted((signal) => replay(file, options, signal)));

async function replay(file: string, options: ReplayOptions, signal: AbortSignal): Promise<void> {
  const { format, collected } = await read(file, options, signal);
  for (const line of renderFormat(format, collected)) note(line);
  const http = new HttpClient(options.url, options.concurrency);
  try {
    await http.call('GET /healthz', {}, { signal }); // fails at once if the server is not running
    const report = {
      file,
      format: formatFacts(format, collected),
      ...(await run(collected, http, options, signal)),
    };
    printResult(options.json, report, (result) => [...renderFormat(format, collected), ...renderReport(result)]);
    const problems = shortcomings(report);
    if (problems.length > 0) throw new CliError(problems.join('; '));
  } finally {
    await http.close();
  }
}

/** Reads the file twice: the format first, which depends on all of it, then the invoices. */
async function read(
  file: string,
  { currency, dateOrder }: ReplayOptions,
  signal: AbortSignal,
): Promise<{ format: Format; collected: Collected }> {
  const source = await Source.open(file, signal);
  const counting = (update: (done: number) => void) => (linesRead: number) => {
    signal.throwIfAborted();
    update(linesRead);
  };
  try {
    const format = await withProgress('judging   ', undefined, (update) =>
      recogniseFormat(source, { dateOrder }, counting(update)),
    );
    const { dates, numbers } = format;
    const reading = { currency, dateOrder: dates.order, numbers };
    const collected = await withProgress('reading   ', undefined, (update) =>
      collectInvoices(readLines(source, format), reading, counting(update)),
    );
    return { format, collected };
  } finally {
    await source.close();
  }
}

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
