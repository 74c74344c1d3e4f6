// How a command fails: with one line that says what is wrong and what to do, and an exit code. Anything else that is
// thrown is a bug and keeps its stack.

export class CliError extends Error {
  readonly exitCode: number;
  constructor(message: string, options: { exitCode?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = 'CliError';
    this.exitCode = options.exitCode ?? 1;
  }
}

/** What was asked for cannot be understood; nothing was tried. */
export const USAGE_EXIT_CODE = 2;
/** Ended by Ctrl-C before it was done, as shells count it: 128 + SIGINT. */
export const INTERRUPTED_EXIT_CODE = 130;

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
