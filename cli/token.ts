// `sluice token`: signs a token for a user.
import { Command, Option } from '@commander-js/extra-typings';
import { userId } from '../contracts/text.ts';
import { CliError, USAGE_EXIT_CODE } from '../demos/shared/errors.ts';
import { print } from '../demos/shared/terminal.ts';
import { callerRoles } from '../infra/access/caller.ts';
import { loadEnvFile } from './env-file.ts';
import { matching, type OptionsOf, timeUpTo, wrapped } from './options.ts';
import { startError } from './start-error.ts';

const help = `
Examples:
  $ AUTH_MODE=jwt sluice start
  # in a second terminal, in the same folder
  $ export SLUICE_TOKEN=$(sluice token --user alice)
  $ sluice order
  $ sluice failed list --token $(sluice token --user bob --role operator --expires 10m)

The token is signed with AUTH_SECRET, or with the key that the server keeps in DATA_DIR: run it with the settings of the
server. With JWKS_URL, only the identity provider can sign. The holder of a token is its user until it expires.`;

const command = () =>
  new Command('token')
    .description('print a signed token for a user')
    .requiredOption('--user <id>', 'user of the token', matching(userId))
    .addOption(
      new Option('--role <name...>', 'what it allows besides what a buyer may: everything, or reading facts').choices(
        callerRoles,
      ),
    )
    .option(
      '--expires <time>',
      'how long it is valid, such as 30s, 10m, 1h or 7d',
      timeUpTo(365, ['s', 'm', 'h', 'd']),
      3_600_000,
    )
    .addHelpText('after', wrapped(help));

export const tokenCommand = () => command().action((options) => token(options));

async function token({ user, role = [], expires }: OptionsOf<typeof command>): Promise<void> {
  loadEnvFile('.env', process.env);
  // Imported here, because no other command needs them.
  const { keysOf, tokenRules } = await import('../app/access/token-access.ts');
  const { parseAccessSettings } = await import('../app/config.ts');
  const { signToken } = await import('../infra/access/tokens.ts');
  try {
    const settings = parseAccessSettings(process.env);
    if (settings.JWKS_URL !== undefined)
      throw new CliError('only the identity provider at JWKS_URL can sign tokens: get one from it', {
        exitCode: USAGE_EXIT_CODE,
      });
    const content = { user, roles: role, expiresInSeconds: expires / 1_000 };
    print(await signToken(await keysOf(settings), tokenRules(settings), content));
  } catch (error) {
    throw startError(error);
  }
}
