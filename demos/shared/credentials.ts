// The user and password in SLUICE_URL, for a proxy in front of the server. They are taken out of the URL before a command
// begins, so that no output, child process or report contains them, and are sent to that server only.
import { parseHttpUrl } from '../../infra/http/url.ts';
import { UrlError } from '../../infra/runtime/server-url.ts';

const authorizations = new Map<string, string>();

/** Replaces SLUICE_URL in `env` by the URL without its user and password. A URL that is invalid stays. */
export function takeCredentials(env: NodeJS.ProcessEnv): void {
  try {
    const { origin, base, authorization } = parseHttpUrl(env.SLUICE_URL ?? '');
    if (authorization === undefined) return;
    authorizations.set(origin, authorization);
    env.SLUICE_URL = origin + base;
  } catch (error) {
    if (!(error instanceof UrlError)) throw error; // the option that reads the variable reports it
  }
}

/** The value of the header Authorization for requests to this origin. */
export const authorizationFor = (origin: string): string | undefined => authorizations.get(origin);
