// The exit codes of commands that start servers.
import { CliError, USAGE_EXIT_CODE } from '../demos/shared/errors.ts';
import { ConfigError } from '../infra/runtime/settings.ts';
import { StartFailed, StartupError } from '../infra/runtime/startup-error.ts';

/** The error as a CliError, without a stack, if a setting or the machine caused it; otherwise unchanged. */
export function startError(error: unknown): unknown {
  if (error instanceof ConfigError)
    return new CliError(error.problems.join('\n'), { exitCode: USAGE_EXIT_CODE, cause: error });
  if (!(error instanceof StartupError)) return error;
  return new CliError(error.message, { exitCode: error instanceof StartFailed ? 1 : USAGE_EXIT_CODE, cause: error });
}
