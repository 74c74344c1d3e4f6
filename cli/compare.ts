// `sluice compare`: measures the same order with three strategies, to show what the bus is for.
import { Command } from '@commander-js/extra-typings';
import { renderComparison, svgOf } from '../demos/compare/report.ts';
import { CliError } from '../demos/shared/errors.ts';
import { expectWritable, writeOutput } from '../demos/shared/files.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import { count, paint, print } from '../demos/shared/terminal.ts';
import { jsonOption, type OptionsOf, printResult, wrapped } from './options.ts';

const help = `
Examples:
  $ sluice compare
  $ sluice compare --work 50 --clients 64 --svg compare.svg

Three strategies run one at a time in this process, behind HTTP, and call the same handlers: in sequence or in parallel
before the response, or over the bus after it. The embedded database is in a temporary folder, which is removed.

Exit code 1 if the strategies did not store the same effects, or if an order is not completed in time.`;

const command = () =>
  new Command('compare')
    .description('measure the same order with its steps in sequence, in parallel, and over the bus')
    // Three steps in sequence must take less than the HTTP client's timeout of 10 s.
    .option('--work <ms>', 'duration of the work in each of the three steps', numberBetween(0, 3_000), 100)
    .option('--orders <n>', 'orders per client', numberBetween(1, 200), 30)
    .option('--clients <n>', 'concurrent clients when orders per second are measured', numberBetween(1, 100), 32)
    .option('--svg <file>', 'write the chart to this SVG file')
    .addOption(jsonOption())
    .addHelpText('after', wrapped(help));

export const compareCommand = () => command().action((options) => untilInterrupted((signal) => run(options, signal)));

async function run(options: OptionsOf<typeof command>, signal: AbortSignal): Promise<void> {
  const { work: workMs, orders, clients, svg, json } = options;
  await expectWritable(svg);
  // Imported here, because no other command needs it.
  const { compare } = await import('../demos/compare/run.ts');
  const comparison = await compare({ workMs, orders, clients }, signal);
  printResult(json, comparison, renderComparison);
  if (svg !== undefined) await writeOutput(svg, svgOf(comparison));
  if (comparison.differences.length > 0) throw new CliError(comparison.differences.join('\n'));
  if (json) return;
  const total = comparison.strategies.reduce((sum, { effects }) => sum + effects.orders, 0);
  const all = `All ${count(total)} orders are completed`;
  print(`\n${paint('green', `${all} with points, coupon and notification, once each, for every strategy.`)}`);
}
