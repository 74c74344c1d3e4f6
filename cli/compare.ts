// `sluice compare`: why there is a bus. The same order, handled in three ways, measured from outside.
import { Command } from 'commander';
import { renderComparison } from '../demos/compare/report.ts';
import { svgOf } from '../demos/compare/svg.ts';
import { CliError } from '../demos/shared/errors.ts';
import { expectWritable, writeOutput } from '../demos/shared/files.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import { count, paint, print, printJson } from '../demos/shared/terminal.ts';
import { jsonOption } from './options.ts';

interface CompareOptions {
  readonly work: number;
  readonly orders: number;
  readonly clients: number;
  readonly svg?: string;
  readonly json?: true;
}

const examples = `
Examples:
  $ sluice compare
  $ sluice compare --work 50 --clients 64 --svg compare.svg

Everything runs here, one way after the other: the same handlers, called before the answer or over the bus after it,
behind HTTP, on the embedded database in a temporary folder. It needs nothing and leaves nothing.`;

export const compareCommand = () =>
  new Command('compare')
    .description('measure the same order handled one step after the other, in parallel, and over the bus')
    // Three steps one after the other must stay below the HTTP client's patience of 10 s.
    .option('--work <ms>', 'work in each of the three steps', numberBetween(0, 3_000), 100)
    .option('--orders <n>', 'orders of each client', numberBetween(1, 200), 30)
    .option('--clients <n>', 'clients at once, for the orders per second', numberBetween(1, 100), 32)
    .option('--svg <file>', 'write the chart to this file')
    .addOption(jsonOption())
    .addHelpText('after', examples)
    .action((options: CompareOptions) => untilInterrupted((signal) => run(options, signal)));

async function run({ work: workMs, orders, clients, svg, json }: CompareOptions, signal: AbortSignal): Promise<void> {
  await expectWritable(svg);
  // Imported here, because the other commands need none of it.
  const { compare } = await import('../demos/compare/run.ts');
  const comparison = await compare({ workMs, orders, clients }, signal);
  if (json) printJson(comparison);
  else for (const line of renderComparison(comparison)) print(line);
  if (svg !== undefined) await writeOutput(svg, svgOf(comparison));
  if (comparison.differences.length > 0) throw new CliError(comparison.differences.join('\n'));
  if (json) return;
  const total = comparison.ways.reduce((sum, { effects }) => sum + effects.orders, 0);
  print();
  print(
    paint(
      'green',
      `All ${count(total)} orders are completed: points, coupon and notification, once each, the same for each way.`,
    ),
  );
}
