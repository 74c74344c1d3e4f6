// The tokens of simulated buyers, for a server with AUTH_MODE=jwt: each buyer has a token of its own, as in a real sale.
import { keysOf, tokenRules } from '../../app/access/token-access.ts';
import { parseAccessSettings } from '../../app/config.ts';
import { signToken } from '../../infra/access/tokens.ts';
import { CliError, USAGE_EXIT_CODE } from '../shared/errors.ts';
import { bodyOf, HttpClient } from '../shared/http.ts';

/** Longer than a simulation with all its retries. */
const EXPIRES_SECONDS = 24 * 3_600;
/** Tokens that are signed at a time. */
const BATCH = 1_000;

export type SignToken = (user: string) => Promise<string>;

/**
 * The function that signs the tokens; undefined if the server at `url` wants none. `env`: the settings of the server.
 * Throws a CliError if the command's own token is not that of an operator, or if the server rejects what is signed here.
 */
export async function buyerTokens(
  url: string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<SignToken | undefined> {
  const http = new HttpClient(url);
  try {
    const response = await http.call('GET /session', {}, { signal });
    if (response.status === 404) return undefined; // a version without access control
    const { userId, roles } = bodyOf(response, 200, 'the sale');
    if (userId === null) return undefined;
    if (!roles.includes('operator'))
      throw usage(
        `the token of ${userId} lacks the role operator, which creates the sale: \`sluice token --role operator\``,
      );
  } finally {
    await http.close();
  }
  const settings = parseAccessSettings(env);
  if (settings.JWKS_URL !== undefined)
    throw usage(
      'only the identity provider at JWKS_URL can sign the tokens of the buyers: use a system with AUTH_SECRET',
    );
  const [keys, rules] = [await keysOf(settings), tokenRules(settings)];
  const sign: SignToken = (user) => signToken(keys, rules, { user, roles: [], expiresInSeconds: EXPIRES_SECONDS });
  await expectAccepted(url, await sign('buyer'), signal);
  return sign;
}

async function expectAccepted(url: string, token: string, signal: AbortSignal): Promise<void> {
  const http = new HttpClient(url, 1, undefined, token);
  try {
    const { status } = await http.call('GET /session', {}, { signal });
    if (status === 401)
      throw usage(`${url} rejects the tokens of buyers: run this with the AUTH_SECRET, or the DATA_DIR, of the server`);
  } finally {
    await http.close();
  }
}

/** The token of each user. */
export async function tokensOf(users: readonly string[], sign: SignToken): Promise<ReadonlyMap<string, string>> {
  const tokens = new Map<string, string>();
  for (let from = 0; from < users.length; from += BATCH) {
    const batch = users.slice(from, from + BATCH);
    const signed = await Promise.all(batch.map(sign));
    for (const [index, user] of batch.entries()) tokens.set(user, signed[index] ?? '');
  }
  return tokens;
}

const usage = (message: string) => new CliError(message, { exitCode: USAGE_EXIT_CODE });
