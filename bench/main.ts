// `npm run bench`: compares the system with bare uses of the libraries and servers below it. Figures are ratios of two
// rates of the same run, because a rate alone says more about the machine. Results go to stdout, progress to stderr.
import { Argument, Command, Option } from '@commander-js/extra-typings';
import { CliError } from '../demos/shared/errors.ts';
import { createFolder, expectWritable, writeOutput } from '../demos/shared/files.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import { columns, note, print } from '../demos/shared/terminal.ts';
import { compareAccess, renderAccess } from './access/compare.ts';
import { compareAdmission } from './admission/compare.ts';
import { renderComparison } from './admission/render.ts';
import type { NamedBenchmark } from './benchmark.ts';
import { curvesDocument } from './curve.ts';
import { benchmarksOf } from './rows.ts';
import { runBenchmarks, writeResults } from './run.ts';
import { comparePeers, peerCurves, renderPeers } from './side-by-side/compare.ts';
import { installPeers } from './side-by-side/contender.ts';
import { MODES } from './system.ts';

const RESULTS = 'bench-results';

const program = new Command('bench').description('measures the system against its limits, with servers of its own');

const { short, long } = benchmarksOf(1);
const listed = (benchmarks: readonly NamedBenchmark[]) =>
  columns(benchmarks.map(({ name, about }) => [name, about])).join('\n');

program
  .command('run', { isDefault: true })
  .description('run benchmarks: the short ones by default; `full` runs all of them and then `peers`')
  .addArgument(
    new Argument('[benchmark...]', 'benchmarks to run, or `full` (default: the short ones)').choices([
      'full',
      ...[...short, ...long].map(({ name }) => name),
    ]),
  )
  .addOption(new Option('--system <system>', 'embedded: one process; separate: one per service').choices(MODES))
  .option('--rounds <count>', 'rounds; the report has medians over them', numberBetween(1, 20), 1)
  .option(
    '--scale <share>',
    'share of all durations and sizes, to try a benchmark',
    numberBetween(0.01, 1, 'number'),
    1,
  )
  .option(
    '--results <folder>',
    'folder for the files of each benchmark: all measurements (JSON) and their curves (SVG)',
    RESULTS,
  )
  .option('--profile <folder>', "also write each process's CPU profile to this folder, which lowers the rates")
  .addHelpText('after', `\nShort benchmarks:\n${listed(short)}\n\nLong benchmarks:\n${listed(long)}`)
  .action(async (names, { scale, ...options }) => {
    const { short, long } = benchmarksOf(scale);
    await createFolder(options.results);
    if (names.includes('full')) {
      await runBenchmarks([...short, ...long], options);
      return runPeers({ scale, ...options });
    }
    const named = [...short, ...long].filter(({ name }) => names.includes(name));
    return runBenchmarks(named.length > 0 ? named : short, options);
  });

program
  .command('admission')
  .description('compare strategies of enforcing the cap of a flash sale')
  .option('--rounds <count>', 'rounds; the report has medians over them', numberBetween(1, 20), 5)
  .option('--json <file>', 'also write all measurements to this file')
  .action(async ({ rounds, json }) => {
    await expectWritable(json);
    const result = await compareAdmission({ rounds });
    print(renderComparison(result));
    if (json) await writeOutput(json, `${JSON.stringify(result, null, 2)}\n`);
  });

program
  .command('peers')
  .description('the same workflow in Sluice, in NestJS and as a plain amqplib script (bench/peers), side by side')
  .option('--rounds <count>', 'rounds, interleaved', numberBetween(1, 20), 1)
  .option('--scale <share>', "share of the load's durations, to try the comparison", numberBetween(0.1, 1, 'number'), 1)
  .option('--results <folder>', 'folder for the JSON and the SVG file', RESULTS)
  .action(runPeers);

async function runPeers(options: { rounds: number; scale: number; results: string }): Promise<void> {
  const { rounds, scale, results } = options;
  await createFolder(results);
  installPeers();
  const result = await comparePeers({
    rounds,
    load: { warmUp: 10 * scale, measured: Math.ceil(20 * scale) },
    kills: 5,
    away: 2,
    settled: 10,
  });
  print(renderPeers(result));
  const head = { title: 'peers', subtitle: 'the same workflow, each on servers of its own' };
  await writeResults(results, 'peers', result, curvesDocument(head, peerCurves(result)));
}

program
  .command('access')
  .description('what tokens cost: AUTH_MODE=jwt against the same system without access control')
  .option('--rounds <count>', 'rounds, interleaved', numberBetween(1, 20), 5)
  .option('--scale <share>', "share of the load's durations, to try the comparison", numberBetween(0.1, 1, 'number'), 1)
  .option('--json <file>', 'also write all measurements to this file')
  .action(async ({ rounds, scale, json }) => {
    await expectWritable(json);
    const durations = (warmUp: number, measured: number) => ({ warmUp: warmUp * scale, measured: measured * scale });
    const result = await compareAccess({ rounds, orders: durations(10, 20), flood: durations(3, 10) });
    print(renderAccess(result));
    if (json) await writeOutput(json, `${JSON.stringify(result, null, 2)}\n`);
  });

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CliError)) throw error;
  note(`bench: ${error.message}`);
  process.exitCode = error.exitCode;
}
