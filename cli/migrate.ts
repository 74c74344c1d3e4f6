// `sluice migrate`: brings the schemas of the database up to date.
import { Command } from '@commander-js/extra-typings';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import { loadEnvFile } from './env-file.ts';
import { wrapped } from './options.ts';
import { startError } from './start-error.ts';

const help = `
Examples:
  $ DATABASE_URL=postgres://sluice_migrator@db:5432/shop sluice migrate
  $ DATABASE_URL=postgres://sluice_app@db:5432/shop MIGRATE=off sluice start

The role must own the schemas or be allowed to create them; infra/deploy/postgres-roles.sql sets up a role for this command
and one for each service. With REDIS_URL, the schema of the job queue is not needed and not created.

Exit code 2 if DATABASE_URL is missing or the database cannot be used, 1 if it does not respond.`;

export const migrateCommand = () =>
  new Command('migrate')
    .description('bring the schemas of the database at DATABASE_URL up to date')
    .addHelpText('after', wrapped(help))
    .action(() => untilInterrupted(migrate));

async function migrate(signal: AbortSignal): Promise<void> {
  loadEnvFile('.env', process.env);
  // Imported here, because no other command needs it.
  const { migrateDatabase } = await import('../app/migrate.ts');
  await migrateDatabase(process.env, signal).catch((error) => {
    throw startError(error);
  });
}
