// What a command shows to the servers that it calls: a token, or the user and password in SLUICE_URL, for a proxy in front
// of the server. Both are taken out of the environment before a command begins, so that no output, child process or
// report contains them.
import { JWT } from '../../infra/access/token-rules.ts';
import { parseHttpUrl } from '../../infra/http/url.ts';
import { UrlError } from '../../infra/runtime/server-url.ts';
import { CliError, USAGE_EXIT_CODE } from './errors.ts';

const authorizations = new Map<string, string>();
let token: string | undefined;

/**
 * Replaces SLUICE_URL in `env` by the URL without its user and password, and removes SLUICE_TOKEN. A URL that is invalid
 * stays. Throws a CliError for a SLUICE_TOKEN that is no token.
 */
export function takeCredentials(env: NodeJS.ProcessEnv): void {
  const { SLUICE_TOKEN: given } = env;
  delete env.SLUICE_TOKEN;
  if (given) {
    if (!JWT.test(given)) throw usage('SLUICE_TOKEN must be a token, such as `sluice token` prints');
    useToken(given);
  }
  try {
    const { origin, base, authorization } = parseHttpUrl(env.SLUICE_URL ?? '');
    if (authorization === undefined) return;
    authorizations.set(origin, authorization);
    env.SLUICE_URL = origin + base;
  } catch (error) {
    if (!(error instanceof UrlError)) throw error; // the option that reads the variable reports it
  }
}

/** From now on, all servers get this token. */
export function useToken(given: string): void {
  token = given;
}

export const tokenInUse = (): string | undefined => token;

/** The user of the token in use, in this claim; undefined if there is none, or if it does not say. */
export function userOfToken(claim: string): string | undefined {
  try {
    const { [claim]: user } = JSON.parse(Buffer.from(token?.split('.')[1] ?? '', 'base64url').toString());
    return typeof user === 'string' ? user : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The value of the header Authorization for requests to this origin. Throws a CliError if a token and a user of
 * SLUICE_URL both need that header.
 */
export function authorizationFor(origin: string): string | undefined {
  const basic = authorizations.get(origin);
  if (token === undefined) return basic;
  if (basic !== undefined)
    throw usage('a token and a user in SLUICE_URL exclude each other: both are the header Authorization');
  return bearer(token);
}

export const bearer = (given: string): string => `Bearer ${given}`;

const usage = (message: string) => new CliError(message, { exitCode: USAGE_EXIT_CODE });
