// `npm run bench`: how close the system comes to the limits of what it is built on. Figures are ratios of two rates of the
// same run, because a rate alone says more about the machine. Results go to stdout, progress to stderr.
import { writeFile } from 'node:fs/promises';
import { Argument, Command } from 'commander';
import { numberBetween } from '../demos/shared/number-option.ts';
import { print } from '../demos/shared/terminal.ts';
import { compareAdmission } from './admission/compare.ts';
import { renderComparison } from './admission/render.ts';
import { flashSaleBenchmark } from './flash-sale/benchmark.ts';
import { orderBenchmark } from './order-benchmark.ts';
import { runBenchmark } from './run.ts';
import { MODES, type Mode } from './system.ts';

interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly short?: boolean;
  readonly profile?: boolean;
  readonly json?: string;
}

const rounds = (command: Command, count: number) =>
  command
    .option('--rounds <count>', 'rounds; the report has medians over them', numberBetween(1, 20), count)
    .option('--json <file>', 'also write all measurements to this file');

const measuring = (command: Command, count: number, seconds: number, load: string) =>
  rounds(command, count)
    .addArgument(new Argument('[system...]', 'embedded: one process; separate: a process per service').choices(MODES))
    .option('--seconds <count>', `how long ${load}, after a warm-up`, numberBetween(5, 600), seconds)
    .option('--short', 'one short round, to see that it works; its figures are not steady')
    .option('--profile', 'profile the processes even if every target is met');

const modesOf = (systems: readonly Mode[]) => (systems.length > 0 ? systems : MODES);

const program = new Command('bench').description('measures the system against its limits, with servers of its own');

measuring(program.command('order', { isDefault: true }), 3, 30, 'the load is sustained')
  .description('orders, against a bare Express route and a bare AMQP loop')
  .action((systems: Mode[], { short = false, ...options }: Options) =>
    runBenchmark(orderBenchmark({ ...options, short }), modesOf(systems), options),
  );

measuring(program.command('flash-sale'), 2, 10, 'the queue is flooded')
  .description('purchases in a flood, against a bare Express route that rejects')
  .action((systems: Mode[], { short = false, ...options }: Options) =>
    runBenchmark(flashSaleBenchmark({ ...options, short }), modesOf(systems), options),
  );

rounds(program.command('admission'), 5)
  .description('compare strategies of enforcing the cap of a flash sale')
  .action(async ({ rounds, json }: Options) => {
    const result = await compareAdmission({ rounds });
    print(renderComparison(result));
    if (json) await writeFile(json, `${JSON.stringify(result, null, 2)}\n`);
  });

await program.parseAsync();
