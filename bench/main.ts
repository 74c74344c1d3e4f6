// `npm run bench`: compares the system with bare uses of the libraries and servers below it. Figures are ratios of two
// rates of the same run, because a rate alone says more about the machine. Results go to stdout, progress to stderr.
import { Argument, Command } from '@commander-js/extra-typings';
import { numberBetween } from '../demos/shared/number-option.ts';
import { print } from '../demos/shared/terminal.ts';
import { compareAdmission } from './admission/compare.ts';
import { renderComparison } from './admission/render.ts';
import { flashSaleBenchmark } from './flash-sale/benchmark.ts';
import { orderBenchmark } from './order-benchmark.ts';
import { runBenchmark, writeJson } from './run.ts';
import { MODES } from './system.ts';

const program = new Command('bench').description('measures the system against its limits, with servers of its own');

const command = (name: string, about: string, rounds: number) =>
  program
    .command(name, { isDefault: name === 'order' })
    .description(about)
    .option('--rounds <count>', 'rounds; the report has medians over them', numberBetween(1, 20), rounds)
    .option('--json <file>', 'also write all measurements to this file');

for (const { name, about, rounds, seconds, load, create } of [
  {
    name: 'order',
    about: 'orders, against a bare Express route and a bare AMQP loop',
    rounds: 3,
    seconds: 30,
    load: 'the load is sustained',
    create: orderBenchmark,
  },
  {
    name: 'flash-sale',
    about: 'purchases in a flood, against a bare Express route that rejects',
    rounds: 2,
    seconds: 10,
    load: 'the queue is flooded',
    create: flashSaleBenchmark,
  },
])
  command(name, about, rounds)
    .addArgument(
      new Argument('[system...]', 'embedded: one process; separate: one per service')
        .choices(MODES)
        .default(MODES, 'both'),
    )
    .option('--seconds <count>', `how long ${load}, after a warm-up`, numberBetween(1, 600), seconds)
    .option('--profile <folder>', "also write each process's CPU profile there, which lowers the rates")
    .action((systems, options) => runBenchmark(create(options.seconds), systems, options));

command('admission', 'compare strategies of enforcing the cap of a flash sale', 5).action(async ({ rounds, json }) => {
  const result = await compareAdmission({ rounds });
  print(renderComparison(result));
  await writeJson(json, result);
});

await program.parseAsync();
