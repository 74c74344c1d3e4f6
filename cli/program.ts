// The `sluice` command: its subcommands and exit codes.
import { Command, CommanderError, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { takeCredentials } from '../demos/shared/credentials.ts';
import { CliError, INTERRUPTED_EXIT_CODE, USAGE_EXIT_CODE } from '../demos/shared/errors.ts';
import { note, paint } from '../demos/shared/terminal.ts';
import { reasonOf } from '../infra/runtime/reason.ts';
import { redactIn } from '../infra/runtime/server-url.ts';

/** In the order of the help. Each is imported when it is needed: a start needs no code of the others. */
const subcommands: Readonly<Record<string, () => Promise<CommandUnknownOpts>>> = {
  start: async () => (await import('./start.ts')).startCommand(),
  check: async () => (await import('./check.ts')).checkCommand(),
  migrate: async () => (await import('./migrate.ts')).migrateCommand(),
  order: async () => (await import('./order.ts')).orderCommand(),
  history: async () => (await import('./history.ts')).historyCommand(),
  replay: async () => (await import('./replay.ts')).replayCommand(),
  'flash-sale': async () => (await import('./flash-sale.ts')).flashSaleCommand(),
  compare: async () => (await import('./compare.ts')).compareCommand(),
  logs: async () => (await import('./logs.ts')).logsCommand(),
  'payment-provider': async () => (await import('./payment-provider.ts')).paymentProviderCommand(),
  failed: async () => (await import('./failed.ts')).failedCommand(),
  audit: async () => (await import('./audit.ts')).auditCommand(),
  outage: async () => (await import('./outage.ts')).outageCommand(),
  contracts: async () => (await import('./contracts.ts')).contractsCommand(),
  token: async () => (await import('./token.ts')).tokenCommand(),
};

const EXIT_CODES = '\nExit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted.';

/** With the subcommand that `argv` names, or else with all. `hide` removes passwords from an error message. */
async function createProgram(argv: readonly string[], hide: (text: string) => string) {
  const program = new Command('sluice')
    .description('A message-driven order workflow: respond at once, work in parallel, lose nothing.')
    .configureHelp({ minWidthToWrap: 20 })
    .showHelpAfterError('(--help shows what is allowed)')
    .addHelpText('after', '\nExamples:\n  $ sluice start\n  $ sluice order --user alice     in a second terminal')
    .addHelpText('after', EXIT_CODES)
    // Commander quotes arguments and variables that it rejects.
    .configureOutput({ outputError: (text, write) => write(hide(text)) })
    .exitOverride();
  const [name = ''] = argv;
  for (const load of Object.hasOwn(subcommands, name) ? [subcommands[name]] : Object.values(subcommands))
    if (load) program.addCommand(inheriting(program, await load()));
  return program;
}

/** Commander passes settings only to commands that it creates itself; this passes them on at every depth. */
function inheriting(parent: CommandUnknownOpts, command: CommandUnknownOpts): CommandUnknownOpts {
  command.copyInheritedSettings(parent).addHelpText('after', EXIT_CODES);
  for (const subcommand of command.commands) inheriting(command, subcommand);
  return command;
}

/** A JWT: its header is an object in base64url. */
const A_TOKEN = /\beyJ[\w-]*\.[\w-]+\.[\w-]*/g;

/**
 * Runs `sluice` with `argv` (without node and script). Resolves with the exit code: 0 only if the command succeeded, 2
 * after an error of usage or configuration, 130 if Ctrl-C or SIGTERM ended it before it was done, otherwise 1.
 */
export async function run(argv: readonly string[]): Promise<number> {
  const hide = (text: string) => redactIn(text, [...argv, ...Object.values(process.env)]).replace(A_TOKEN, '***');
  try {
    takeCredentials(process.env);
    const program = await createProgram(argv, hide);
    await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    // Commander has printed the error or the help.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE_EXIT_CODE;
    if (error instanceof CliError && error.exitCode === INTERRUPTED_EXIT_CODE) {
      note(error.message);
      return error.exitCode;
    }
    const { message, exitCode } = error instanceof CliError ? error : { message: unexpected(error), exitCode: 1 };
    const prefix = paint('red', 'error:', process.stderr);
    for (const line of hide(message).split('\n')) note(`${prefix} ${line}`);
    return exitCode;
  }
}

/** An error that no command expects. Its stack is for developers. */
function unexpected(error: unknown): string {
  const showStack = /^(debug|trace)$/.test(process.env.LOG_LEVEL ?? '');
  if (showStack && error instanceof Error && error.stack) return error.stack;
  return `${reasonOf(error)} (unexpected: LOG_LEVEL=debug shows where it came from)`;
}
