// `npm run test:mutations`: whether the tests can go red. Each deliberate mistake is made in a copy of the source tree,
// and the tests that should notice are run there: first without any mistake, where they must be green, then with each,
// where they must be red. Progress goes to stderr, the table to stdout; the exit code is 1 where a mistake goes
// unnoticed, and where one could not be made: its place is not found, or its tests were red before.
import { Command } from 'commander';
import { CliError } from '../../demos/shared/errors.ts';
import { untilInterrupted } from '../../demos/shared/interrupt.ts';
import { columns, note, paint, print } from '../../demos/shared/terminal.ts';
import type { Mutation } from './mutation.ts';
import { mutations } from './mutations.ts';
import { tryAll, type Verdict } from './try.ts';

interface Options {
  readonly only?: readonly string[];
  readonly list?: true;
}

const command = new Command('test:mutations')
  .description('makes deliberate mistakes in a copy of the source tree and requires the tests to go red')
  .option('--only <names...>', 'these mistakes only')
  .option('--list', 'say what mistakes there are, and try none')
  .action(async ({ only, list }: Options) => {
    const chosen = only ? only.map(named) : mutations;
    if (list) return printList(chosen);
    const startedAt = performance.now();
    const verdicts = await untilInterrupted((signal) => tryAll(chosen, signal));
    printVerdicts(verdicts);
    const red = verdicts.filter(({ outcome }) => outcome === 'red').length;
    const failed = verdicts.filter(({ outcome }) => outcome === 'failed').length;
    const ended = `${red} of ${verdicts.length} mistakes noticed${failed > 0 ? `, ${failed} failed` : ''}`;
    print(`\n${ended}, in ${seconds(performance.now() - startedAt)} s`);
    if (red < verdicts.length) process.exitCode = 1;
  });

function named(name: string): Mutation {
  const found = mutations.find((mutation) => mutation.name === name);
  if (!found) throw new CliError(`there is no mistake named ${name}: --list says what there is`);
  return found;
}

function printList(chosen: readonly Mutation[]): void {
  for (const { name, lesson, changes, tests } of chosen) {
    print(paint('bold', name));
    print(`  ${lesson}`);
    print(
      `  in ${[...new Set(changes.map(({ file }) => file))].join(', ')}; to be noticed by ${tests.files.join(', ')}`,
    );
  }
}

const seconds = (ms: number) => (ms / 1_000).toFixed(1);

function printVerdicts(verdicts: readonly Verdict[]): void {
  const rows = verdicts.map(({ mutation, outcome, tests, ms }) => [
    mutation.name,
    mutation.tests.files.map((file) => file.replace(/^test\//, '')).join(', '),
    String(tests),
    outcome,
    seconds(ms),
  ]);
  for (const line of columns([['mistake', 'noticed by', 'tests', 'result', 'seconds'], ...rows], { indent: '' }))
    print(line);
  for (const { mutation, why } of verdicts) if (why) print(`\n${mutation.name}: ${why}`);
}

try {
  await command.parseAsync();
} catch (error) {
  if (!(error instanceof CliError)) throw error;
  note(error.message);
  process.exitCode = error.exitCode;
}
