// `sluice start`: runs the services in this process.
import { existsSync } from 'node:fs';
import { Argument, Command } from 'commander';
import { describeVariables } from '../app/config.ts';
import { type ServiceName, serviceNames } from '../contracts/services.ts';
import { CliError, messageOf, USAGE_EXIT_CODE } from '../demos/shared/errors.ts';
import { aborted, untilInterrupted } from '../demos/shared/interrupt.ts';
import { note } from '../demos/shared/terminal.ts';
import { ConfigError } from '../infra/runtime/settings.ts';
import { StartupError } from '../infra/runtime/startup-error.ts';

export const startCommand = () =>
  new Command('start')
    .description('run all services, or those named, in one process until SIGINT or SIGTERM')
    .addArgument(new Argument('[service...]', 'services to run (default: all)').choices(serviceNames))
    .addHelpText('after', help)
    .action((services: ServiceName[]) => untilInterrupted((signal) => start(services, signal)));

async function start(services: ServiceName[], signal: AbortSignal): Promise<void> {
  if (existsSync('.env')) process.loadEnvFile('.env'); // variables that are already set win
  // Imported here, because no other command needs it.
  const { startSluice } = await import('../app/start.ts');
  try {
    const sluice = await startSluice({
      services: services.length > 0 ? services : serviceNames,
      env: process.env,
      signal,
    });
    await aborted(signal);
    await sluice.stop().catch(exitAtOnce);
  } catch (error) {
    if (error === signal.reason) return note('stopped before it was ready');
    if (error instanceof ConfigError)
      throw new CliError(error.problems.join('\n'), { exitCode: USAGE_EXIT_CODE, cause: error });
    if (error instanceof StartupError) throw new CliError(error.message, { cause: error });
    throw error;
  }
}

/** Parts that have not stopped in STOP_TIMEOUT_MS would keep the process alive. Unfinished work is in the database. */
function exitAtOnce(error: unknown): never {
  note(`error: ${messageOf(error)}`);
  process.exit(1);
}

function help(): string {
  const variables = describeVariables().map(({ name, fallback, allowed, about }) => {
    const standard = fallback === undefined ? '' : ` Default: ${fallback}.`;
    return `  ${name}\n      ${about}${standard}\n      Allowed: ${allowed}.`;
  });
  return `
Examples:
  $ sluice start                  all services, embedded, with their data in .data/
  $ sluice start order points     two of the services; needs DATABASE_URL, MQTT_URL and PAYMENT_URL

Environment:
${variables.join('\n')}

The first SIGINT or SIGTERM stops the services cleanly, a second one at once. With an invalid variable, the services
do not start and the exit code is 2.`;
}
