// Access control by tokens: AUTH_MODE=jwt.
import { userId } from '../../contracts/text.ts';
import { type Keys, localSecret, remoteKeys, secretKeys } from '../../infra/access/keys.ts';
import type { TokenRules } from '../../infra/access/token-rules.ts';
import { signToken, TokenVerifier } from '../../infra/access/tokens.ts';
import { type Authentication, TokenAuthentication } from '../../infra/http/authentication.ts';
import { type LimitContext, type LimitSettings, openLimits } from './limits.ts';
import type { AccessSettings } from './settings.ts';

export type AccessControlSettings = AccessSettings & LimitSettings & { readonly DATA_DIR: string };

export interface AccessControl {
  readonly authentication: Authentication;
  /** Undefined while access control is off. */
  readonly verifier: TokenVerifier | undefined;
  /** The header of this process's own requests to the others; undefined: none. */
  readonly authorization: () => Promise<string | undefined>;
}

/** The user and the lifetime of the tokens that a process signs for its own requests. */
const SERVICE_USER = 'sluice';
const SERVICE_TOKEN_SECONDS = 600;
/** A token is replaced this long before it expires. */
const RENEW_SECONDS = 60;

export function tokenRules({ AUTH_ISSUER, AUTH_AUDIENCE, AUTH_USER_CLAIM }: AccessSettings): TokenRules {
  return {
    issuer: AUTH_ISSUER,
    audience: AUTH_AUDIENCE,
    userClaim: AUTH_USER_CLAIM,
    userFault: (value) =>
      typeof value === 'string' ? userId.safeParse(value).error?.issues[0]?.message : 'must be a string',
  };
}

/** Rejects with a StartupError if the local key cannot be used. */
export async function keysOf({
  JWKS_URL,
  AUTH_SECRET,
  DATA_DIR,
}: Pick<AccessControlSettings, 'JWKS_URL' | 'AUTH_SECRET' | 'DATA_DIR'>): Promise<Keys> {
  if (JWKS_URL !== undefined) return remoteKeys(JWKS_URL);
  return secretKeys(AUTH_SECRET ?? (await localSecret(DATA_DIR)));
}

/** Rejects as keysOf does. */
export async function openTokenAccess(settings: AccessControlSettings, context: LimitContext): Promise<AccessControl> {
  const rules = tokenRules(settings);
  const keys = await keysOf(settings);
  const { orders, failures } = await openLimits(settings, context);
  const verifier = new TokenVerifier(keys, rules, failures);
  return {
    authentication: new TokenAuthentication(verifier, orders),
    verifier,
    authorization: bearer(settings.SERVICE_TOKEN, keys, rules),
  };
}

function bearer(given: string | undefined, keys: Keys, rules: TokenRules): AccessControl['authorization'] {
  if (given !== undefined) return async () => `Bearer ${given}`;
  if (!keys.signingKey) return async () => undefined;
  let signed: { readonly header: string; readonly renewAt: number } | undefined;
  return async () => {
    const now = Date.now() / 1_000;
    if (!signed || now >= signed.renewAt) {
      const content = { user: SERVICE_USER, roles: ['service'], expiresInSeconds: SERVICE_TOKEN_SECONDS } as const;
      const token = await signToken(keys, rules, content);
      signed = { header: `Bearer ${token}`, renewAt: now + SERVICE_TOKEN_SECONDS - RENEW_SECONDS };
    }
    return signed.header;
  };
}
