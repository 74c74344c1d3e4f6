// The errors of commands: one line that says what is wrong and what to do, and an exit code. Any other error is a bug
// and is printed with its stack.

export class CliError extends Error {
  readonly exitCode: number;
  constructor(message: string, options: { exitCode?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = 'CliError';
    this.exitCode = options.exitCode ?? 1;
  }
}

/** A usage error: the command did nothing. */
export const USAGE_EXIT_CODE = 2;
/** Interrupted by Ctrl-C, by the convention of shells: 128 + SIGINT. */
export const INTERRUPTED_EXIT_CODE = 130;

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
