// Tokens that are signed with a secret of the tests, and what verifies them.
import type { CallerRole } from '../../infra/access/caller.ts';
import { secretKeys } from '../../infra/access/keys.ts';
import { RateLimit } from '../../infra/access/rate-limit.ts';
import type { RateLimitName } from '../../infra/access/rejections.ts';
import { signToken, TokenVerifier } from '../../infra/access/tokens.ts';
import { TokenAuthentication } from '../../infra/http/authentication.ts';

const keys = await secretKeys('a secret of at least thirty-two bytes');
const rules = { issuer: undefined, audience: undefined, userClaim: 'sub', userFault: () => undefined };

export const tokenOf = (user: string, roles: readonly CallerRole[] = [], expiresInSeconds = 600): Promise<string> =>
  signToken(keys, rules, { user, roles, expiresInSeconds });

/** A token whose signature does not match. */
export const forgedToken = async (): Promise<string> => `${(await tokenOf('mallory')).slice(0, -20)}${'A'.repeat(20)}`;

/** Undefined: no limit. */
interface Limits {
  readonly orders?: RateLimit | undefined;
  readonly failures?: RateLimit | undefined;
}

export function tokenAccess({ orders, failures }: Limits = {}) {
  const verifier = new TokenVerifier(keys, rules, failures);
  return { verifier, authentication: new TokenAuthentication(verifier, orders) };
}

/** A limit that this process counts. */
export const limitOf = (name: RateLimitName, perMinute: number): RateLimit =>
  new RateLimit({ name, perMinute, what: 'requests', prefix: '', onRejected: () => undefined });
