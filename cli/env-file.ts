// The settings file .env in the current folder.
import { readFileSync } from 'node:fs';
import { parseEnv, TextDecoder } from 'node:util';
import { CliError, USAGE_EXIT_CODE } from '../demos/shared/errors.ts';
import { isInjected } from '../infra/runtime/settings.ts';

/** Adds the variables of the file to `env`, except those that are set. Throws a CliError if the file cannot be read. */
export function loadEnvFile(path: string, env: NodeJS.ProcessEnv): void {
  const text = readText(path);
  if (text === undefined) return;
  for (const [name, value] of Object.entries(parseEnv(text)))
    if (env[name] === undefined || isInjected(name, env[name])) env[name] = value;
}

/** Undefined if there is no file. A byte order mark is skipped. */
function readText(path: string): string | undefined {
  try {
    const bytes = readFileSync(path);
    // UTF-16 without a mark is valid UTF-8 as long as it contains only ASCII characters and, between them, NULs.
    if (bytes.includes(0)) throw new TypeError();
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) throw unreadable(`${path} is not UTF-8 text: save it with the encoding UTF-8`);
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    const reason = code === 'EISDIR' ? `${path} is a folder` : `${path} cannot be read (${message})`;
    throw unreadable(`${reason}: it must be a file with settings, or absent`);
  }
}

const unreadable = (message: string) => new CliError(message, { exitCode: USAGE_EXIT_CODE });
