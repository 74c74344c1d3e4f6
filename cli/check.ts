// `sluice check`: says whether every configured server can do what the system needs.
import { Command } from '@commander-js/extra-typings';
import type { CheckReport, ServerReport } from '../app/check/report.ts';
import { CliError } from '../demos/shared/errors.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import { columns, count, paint, printable, withProgress } from '../demos/shared/terminal.ts';
import { loadEnvFile } from './env-file.ts';
import { jsonOption, type OptionsOf, printResult, wrapped } from './options.ts';
import { startError } from './start-error.ts';

const help = `
Examples:
  $ sluice check
  $ DATABASE_URL=postgres://sluice_app@db:5432/shop MIGRATE=off sluice check
  $ sluice check --json | jq -r '.servers[].problems[]'

Checks each server that the settings name (DATABASE_URL, AMQP_URL, MQTT_URL, REDIS_URL, PAYMENT_URL, and DATA_DIR for
what is embedded), all at the same time, and prints a line for each: its version, the rights and limits that suffice,
the difference of its clock, and what would not work, with what to change. Of a list, each server has a line.

A check uses a server as a start does, with names of its own below BUS_PREFIX, and removes what it has created. A
running system is not disturbed. Settings are read as \`sluice start\` reads them, also from the file .env.

Exit code 1 if something would not work, 2 if a setting is not allowed. A warning, such as a clock that differs by more
than a second, does not change the exit code.`;

const command = () =>
  new Command('check')
    .description('check every configured server: reachable, version, rights, limits, clock')
    .addOption(jsonOption())
    .addHelpText('after', wrapped(help));

export const checkCommand = () => command().action((options) => untilInterrupted((signal) => check(options, signal)));

async function check({ json }: OptionsOf<typeof command>, signal: AbortSignal): Promise<void> {
  loadEnvFile('.env', process.env);
  // Imported here, because no other command needs it.
  const { checkServers } = await import('../app/check/index.ts');
  const report = await withProgress('servers checked', undefined, (update) =>
    checkServers(process.env, signal, (done) => update(done)),
  ).catch((error) => {
    throw startError(error);
  });
  printResult(json, report, renderCheck);
  const failed = report.servers.filter(({ status }) => status === 'failed').length;
  if (failed > 0) throw new CliError(`${count(failed)} of ${count(report.servers.length)} would not work`);
}

const MARKS = { ok: paint('green', '✓'), warning: paint('yellow', '!'), failed: paint('red', '✗') };

export const renderCheck = ({ servers }: CheckReport): string[] =>
  columns(
    servers.map((report) => [
      MARKS[report.status],
      report.variable,
      printable(report.server),
      printable(lineOf(report)),
    ]),
    { indent: '' },
  );

function lineOf({ version, facts, clockDifferenceMs: clock, warnings, problems }: ServerReport): string {
  const clocks = clock === null ? [] : [`clock ${clock < 0 ? '−' : '+'}${count(Math.abs(clock))} ms`];
  const parts = [...(version === null ? [] : [version]), ...problems, ...warnings, ...facts, ...clocks];
  return parts.join('; ').replace(/\s+/g, ' ');
}
