// `sluice start`: runs the services in this process.
import { Argument, Command, type CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { settingsBySection } from '../app/configuration-docs.ts';
import type { StartOptions } from '../app/start.ts';
import { serviceNames } from '../contracts/services.ts';
import { messageOf, USAGE_EXIT_CODE } from '../demos/shared/errors.ts';
import { aborted, untilInterrupted } from '../demos/shared/interrupt.ts';
import { note } from '../demos/shared/terminal.ts';
import { FileSystemSilent } from '../infra/runtime/data-dir.ts';
import { roles } from '../infra/runtime/service.ts';
import { loadEnvFile } from './env-file.ts';
import { helpOf, wrapped } from './options.ts';
import { startError } from './start-error.ts';

const help = `
Examples:
  $ sluice start
  # two of the services; needs DATABASE_URL, MQTT_URL and PAYMENT_URL
  $ sluice start order points
  # the flash sales' HTTP side, apart from the work behind it
  $ sluice start flash-sale --role web

Without any setting, everything runs embedded, with its data in the folder .data. The first SIGINT or SIGTERM stops the
services cleanly; another one, more than two seconds later, ends the process at once.

Settings are environment variables, or lines of a file named .env (UTF-8) in the current folder. Exit code 1 if the
start or the stop failed, 2 if a setting, a port or a folder must change first.`;

export const startCommand = () =>
  new Command('start')
    .description('run all services, or those named, in one process until SIGINT or SIGTERM')
    .addArgument(new Argument('[service...]', 'services to run').choices(serviceNames).default(serviceNames, 'all'))
    .addOption(
      new Option('--role <role>', 'web: only the HTTP side; worker: only the work behind it (default: both)').choices(
        roles,
      ),
    )
    .addHelpText('after', wrapped(help))
    .addHelpText('after', settings)
    .action((services, { role }) =>
      untilInterrupted((signal) => start({ services, ...(role && { roles: [role] }) }, signal)),
    );

async function start(which: Pick<StartOptions, 'services' | 'roles'>, signal: AbortSignal): Promise<void> {
  loadEnvFile('.env', process.env);
  // Imported here, because no other command needs it.
  const { startSluice } = await import('../app/start.ts');
  try {
    const sluice = await startSluice({ ...which, env: process.env, signal, ownsConsole: true });
    await aborted(signal);
    await sluice.stop().catch(exitAtOnce);
  } catch (error) {
    if (error === signal.reason) return note('stopped before it was ready');
    // A request that the file system does not answer would keep the process alive.
    if (error instanceof FileSystemSilent) setTimeout(() => process.exit(USAGE_EXIT_CODE), 500);
    throw startError(error);
  } finally {
    if (signal.aborted) exitDespiteSockets();
  }
}

/** How long sockets may outlast a stop. */
const LINGER_MS = 300;

/** Everything has stopped, so nothing that a library has left open may keep the process from its exit. */
function exitDespiteSockets(): void {
  const exit = () => {
    note(`warning: exits although these were left open: ${process.getActiveResourcesInfo().join(', ')}`);
    process.exit();
  };
  setTimeout(exit, LINGER_MS).unref();
}

/** Parts that have not stopped in STOP_TIMEOUT_MS would keep the process alive. Unfinished work is in the database. */
function exitAtOnce(error: unknown): never {
  note(`error: ${messageOf(error)}`);
  process.exit(1);
}

function settings({ command }: { command: CommandUnknownOpts }): string {
  const help = helpOf(command);
  const sections = settingsBySection();
  const width = Math.max(...sections.flatMap(({ settings }) => settings.map(({ name }) => name.length)));
  const lines = sections.flatMap(({ title, settings }) => {
    const items = settings.map(({ name, about, allowed, fallback }) => {
      const values = `(${allowed}${fallback === undefined ? '' : `; default: ${fallback}`})`;
      return help.formatItem(name, width, `${about} ${values}`, help);
    });
    return help.formatItemList(`${title}:`, items, help);
  });
  return ['', ...lines.slice(0, -1)].join('\n');
}
