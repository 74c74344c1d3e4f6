// The `sluice` command: its subcommands and exit codes.
import { Command, CommanderError, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { takeCredentials } from '../demos/shared/credentials.ts';
import { CliError, INTERRUPTED_EXIT_CODE, USAGE_EXIT_CODE } from '../demos/shared/errors.ts';
import { note, paint } from '../demos/shared/terminal.ts';
import { reasonOf } from '../infra/runtime/reason.ts';
import { redactIn } from '../infra/runtime/server-url.ts';
import { auditCommand } from './audit.ts';
import { checkCommand } from './check.ts';
import { compareCommand } from './compare.ts';
import { contractsCommand } from './contracts.ts';
import { failedCommand } from './failed.ts';
import { flashSaleCommand } from './flash-sale.ts';
import { historyCommand } from './history.ts';
import { logsCommand } from './logs.ts';
import { migrateCommand } from './migrate.ts';
import { orderCommand } from './order.ts';
import { outageCommand } from './outage.ts';
import { paymentProviderCommand } from './payment-provider.ts';
import { replayCommand } from './replay.ts';
import { startCommand } from './start.ts';
import { tokenCommand } from './token.ts';

const subcommands = [
  startCommand,
  checkCommand,
  migrateCommand,
  orderCommand,
  historyCommand,
  replayCommand,
  flashSaleCommand,
  compareCommand,
  logsCommand,
  paymentProviderCommand,
  failedCommand,
  auditCommand,
  outageCommand,
  contractsCommand,
  tokenCommand,
];

const EXIT_CODES = '\nExit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted.';

/** `hide` removes passwords from an error message. */
function createProgram(hide: (text: string) => string) {
  const program = new Command('sluice')
    .description('A message-driven order workflow: respond at once, work in parallel, lose nothing.')
    .configureHelp({ minWidthToWrap: 20 })
    .showHelpAfterError('(--help shows what is allowed)')
    .addHelpText('after', '\nExamples:\n  $ sluice start\n  $ sluice order --user alice     in a second terminal')
    .addHelpText('after', EXIT_CODES)
    // Commander quotes arguments and variables that it rejects.
    .configureOutput({ outputError: (text, write) => write(hide(text)) })
    .exitOverride();
  for (const subcommand of subcommands) program.addCommand(inheriting(program, subcommand()));
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
    await createProgram(hide).parseAsync(argv, { from: 'user' });
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
