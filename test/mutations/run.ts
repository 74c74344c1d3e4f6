// `npm run test:mutations` tests the tests: it makes each mutation in a copy of the source tree and runs the tests that
// must detect it. They must pass without any mutation and fail with it. Progress goes to stderr, the table to stdout.
// The exit code is 1 if a mutation is not detected, or if it cannot be made: its text is not found, or its tests fail
// without it.
import { Command } from '@commander-js/extra-typings';
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
  .description('makes mistakes on purpose in a copy of the source tree and requires the tests to fail')
  .option('--only <names...>', 'make only these mutations')
  .option('--list', 'list the mutations and make none')
  .action(async ({ only, list }: Options) => {
    const chosen = only ? only.map(named) : mutations;
    if (list) return printList(chosen);
    const startedAt = performance.now();
    const verdicts = await untilInterrupted((signal) => tryAll(chosen, signal));
    printVerdicts(verdicts);
    const detected = verdicts.filter(({ outcome }) => outcome === 'detected').length;
    const failed = verdicts.filter(({ outcome }) => outcome === 'failed').length;
    const ended = `${detected} of ${verdicts.length} mutations detected${failed > 0 ? `, ${failed} failed` : ''}`;
    print(`\n${ended}, in ${seconds(performance.now() - startedAt)} s`);
    if (detected < verdicts.length) process.exitCode = 1;
  });

function named(name: string): Mutation {
  const found = mutations.find((mutation) => mutation.name === name);
  if (!found) throw new CliError(`no mutation is named ${name}; list them with --list`);
  return found;
}

function printList(chosen: readonly Mutation[]): void {
  for (const { name, lesson, changes, tests } of chosen) {
    print(paint('bold', name));
    print(`  ${lesson}`);
    print(`  in ${[...new Set(changes.map(({ file }) => file))].join(', ')}; detected by ${tests.files.join(', ')}`);
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
  for (const line of columns([['mutation', 'detected by', 'tests', 'result', 'seconds'], ...rows], { indent: '' }))
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
