// `sluice replay FILE`: places a real shop's invoices as orders, and accounts for every line of the file.
import { Command, Option } from 'commander';
import { Counters } from '../demos/replay/counters.ts';
import { readLines } from '../demos/replay/csv.ts';
import { Follower, type FollowOptions } from '../demos/replay/follow.ts';
import { type Collected, collectInvoices } from '../demos/replay/invoices.ts';
import { placeAll } from '../demos/replay/place.ts';
import { type ReplayReport, renderReport, shortcomings } from '../demos/replay/report.ts';
import { CliError } from '../demos/shared/errors.ts';
import { HttpClient } from '../demos/shared/http.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import { count, note, print, printJson, withProgress } from '../demos/shared/terminal.ts';
import { currencyOption, jsonOption, urlOption } from './options.ts';

interface ReplayOptions {
  readonly url: string;
  readonly currency: string;
  readonly speed: number;
  readonly max?: true;
  readonly concurrency: number;
  readonly retrySeconds: number;
  readonly timeout: number;
  readonly json?: true;
}

const examples = `
Examples:
  $ sluice replay samples/online-retail-2010-12-01_to_03.csv --max
  $ sluice replay samples/online-retail-2010-12-01_to_03.csv --speed 7200   two hours of the shop in a second

The columns are those of UCI's Online Retail. The invoice number is the Idempotency-Key: a replay that was cut short is
run again, and places nothing twice. Prices are decimal, in the major unit of --currency.`;

export const replayCommand = () =>
  new Command('replay')
    .description(
      'place the orders of a CSV of invoice lines, wait until they are completed, and account for every line',
    )
    .argument('<file>', 'CSV with the columns of Online Retail')
    .addOption(
      new Option('--speed <times>', 'times faster than it happened')
        .default(3_600)
        .argParser(numberBetween(0.001, 1_000_000, 'number')),
    )
    .addOption(new Option('--max', 'as fast as orders are accepted').conflicts('speed'))
    .option('--concurrency <n>', 'requests under way at a time', numberBetween(1, 1_000), 32)
    .option('--retry-seconds <s>', 'how long one invoice is tried again', numberBetween(0, 3_600), 60)
    .option('--timeout <s>', 'how long to wait for completion, after the last is placed', numberBetween(0, 86_400), 120)
    .addOption(currencyOption())
    .addOption(urlOption())
    .addOption(jsonOption())
    .addHelpText('after', examples)
    .action((file: string, options: ReplayOptions) => untilInterrupted((signal) => replay(file, options, signal)));

async function replay(file: string, options: ReplayOptions, signal: AbortSignal): Promise<void> {
  const collected = await read(file, options, signal);
  const http = new HttpClient(options.url, options.concurrency);
  try {
    await http.request('GET', '/healthz', { signal }); // only whether anybody is there, before waiting for retries
    const report = await run(file, collected, http, options, signal);
    if (options.json) printJson(report);
    else for (const line of renderReport(report)) print(line);
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
  file: string,
  collected: Collected,
  http: HttpClient,
  { currency, concurrency, ...options }: ReplayOptions,
  signal: AbortSignal,
): Promise<ReplayReport> {
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
        if (placement.kind === 'ordered') follower.see(placement.order);
        update(counters.placements);
      }),
    );
  } catch (error) {
    if (signal.aborted)
      note(`${count(counters.placements)} of ${count(total)} invoices were answered; run it again to go on`);
    throw error;
  }
  const placingMs = performance.now() - startedAt;
  await waitFor(follower, { http, concurrency, timeoutMs: options.timeout * 1_000, signal });
  return counters.report(file, placingMs, follower);
}

async function waitFor(follower: Follower, options: FollowOptions): Promise<void> {
  const done = () => follower.completedAfterMs.length;
  const total = done() + follower.incomplete().length;
  await withProgress('completing', total, (update) => follower.wait(options, () => update(done())));
}
