// Verifies and signs tokens: JWTs (RFC 7519) whose claims name a user and roles.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { errors, type JWTPayload, type JWTVerifyOptions, jwtVerify, SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import { reasonOf } from '../runtime/reason.ts';
import { type Caller, type CallerRole, callerRoles } from './caller.ts';
import { networkOf } from './client-address.ts';
import { type Keys, SECRET_ALGORITHM } from './keys.ts';
import type { RateLimit } from './rate-limit.ts';
import { KeysUnavailable, TokenExpired, TokenRejected } from './rejections.ts';
import { JWT, type TokenRules } from './token-rules.ts';

/** A longer token is rejected before it is decoded. Headers of a request have 16 KiB in all. */
const MAX_TOKEN_LENGTH = 8_192;

/** Difference that the clocks of the issuer and of this server may have. */
const LEEWAY_SECONDS = 30;

/** Memory of the verified tokens: about 25,000 of the usual length. */
const CACHE_BYTES = 16 * 1024 * 1024;
/** Of a verified token, besides its text. */
const CACHE_ENTRY_BYTES = 256;

/** Verifies tokens. A verified one costs a lookup until it expires, because a verification costs 0.1 to 0.4 ms. */
export class TokenVerifier {
  readonly #keys: Keys;
  readonly #rules: TokenRules;
  readonly #options: JWTVerifyOptions;
  readonly #failures: RateLimit | undefined;
  readonly #verified = new LRUCache<string, Caller & { readonly expiresAt: number }>({
    maxSize: CACHE_BYTES,
    sizeCalculation: (_caller, token) => token.length + CACHE_ENTRY_BYTES,
  });

  /** `failures`: the limit on rejected tokens from one network; undefined: none. */
  constructor(keys: Keys, rules: TokenRules, failures?: RateLimit) {
    this.#keys = keys;
    this.#rules = rules;
    this.#failures = failures;
    const { issuer, audience, userClaim } = rules;
    this.#options = {
      algorithms: [...keys.algorithms],
      clockTolerance: LEEWAY_SECONDS,
      requiredClaims: ['exp', userClaim],
      ...(issuer !== undefined && { issuer }),
      ...(audience !== undefined && { audience }),
    };
  }

  /** The caller of a token that was verified before and has not expired. */
  known(token: string): Caller | undefined {
    const caller = this.#verified.get(token);
    if (!caller) return undefined;
    if (Date.now() / 1_000 < caller.expiresAt + LEEWAY_SECONDS) return caller;
    this.#verified.delete(token);
    return undefined;
  }

  /**
   * Verifies the token of a client at this address; undefined: unknown, and no limit applies. Rejects with TokenRejected,
   * KeysUnavailable or RateLimited. The limit does not apply to known tokens, so a client that guesses does not lock out
   * those who share its address.
   */
  async verify(token: string, address: string | undefined): Promise<Caller> {
    const known = this.known(token);
    if (known) return known;
    if (address === undefined) return this.#verify(token);
    const network = networkOf(address);
    this.#failures?.requireRest(network);
    try {
      return await this.#verify(token);
    } catch (error) {
      // Guesses that are verified at the same time all pass above; those beyond the limit learn nothing here.
      if (error instanceof TokenRejected && !(error instanceof TokenExpired)) await this.#failures?.count(network);
      throw error;
    }
  }

  async #verify(token: string): Promise<Caller> {
    if (token.length > MAX_TOKEN_LENGTH) throw new TokenRejected(`it has more than ${MAX_TOKEN_LENGTH} characters`);
    // jose overlooks white space and padding, which would make many keys of the cache from one token.
    if (!JWT.test(token)) throw new TokenRejected('it is no signed JWT');
    const payload = await this.#payloadOf(token);
    const caller = callerOf(payload, this.#rules);
    // A part of a header would keep all of it in memory, so the cache gets a copy.
    this.#verified.set(Buffer.from(token, 'latin1').toString('latin1'), caller);
    return caller;
  }

  /**
   * The user of a token that is signed with the secret and has not expired, at about a tenth of the cost of a
   * verification: the other claims are not checked. Undefined with the keys of an identity provider.
   */
  signedUser(token: string): string | undefined {
    const { secret } = this.#keys;
    if (!secret || token.length > MAX_TOKEN_LENGTH || !JWT.test(token)) return undefined;
    const dot = token.lastIndexOf('.');
    const expected = createHmac('sha256', secret).update(token.slice(0, dot)).digest();
    const given = Buffer.from(token.slice(dot + 1), 'base64url');
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
    const { exp, [this.#rules.userClaim]: user } = claimsIn(token.slice(token.indexOf('.') + 1, dot));
    if (typeof exp !== 'number' || Date.now() / 1_000 >= exp) return undefined;
    return typeof user === 'string' && this.#rules.userFault(user) === undefined ? user : undefined;
  }

  async #payloadOf(token: string): Promise<JWTPayload> {
    const { key } = this.#keys;
    try {
      // Two calls, because jose has one overload for each kind of key.
      const { payload } =
        typeof key === 'function'
          ? await jwtVerify(token, key, this.#options)
          : await jwtVerify(token, key, this.#options);
      return payload;
    } catch (error) {
      throw explained(error, this.#keys);
    }
  }
}

/** Without any claim if the payload is no JSON object. jose's decodeJwt costs twice as much, for every rejection. */
function claimsIn(payload: string): Readonly<Record<string, unknown>> {
  try {
    return { ...JSON.parse(Buffer.from(payload, 'base64url').toString()) };
  } catch {
    return {};
  }
}

function callerOf(payload: JWTPayload, { userClaim, userFault }: TokenRules): Caller & { readonly expiresAt: number } {
  const user = payload[userClaim];
  const fault = userFault(user);
  if (fault !== undefined || typeof user !== 'string') throw new TokenRejected(`its claim ${userClaim} ${fault}`);
  const { roles = [], exp = 0 } = payload;
  if (!Array.isArray(roles)) throw new TokenRejected('its claim roles must be a list');
  return { who: user, user, roles: callerRoles.filter((role) => roles.includes(role)), expiresAt: exp };
}

/** Nothing of a token is quoted, except the names of claims and of the algorithms that are allowed. */
function explained(error: unknown, { algorithms, key }: Keys): TokenRejected | KeysUnavailable {
  const rejected = (reason: string) => new TokenRejected(reason, { cause: error });
  if (error instanceof errors.JWTExpired) return new TokenExpired('it has expired', { cause: error });
  if (error instanceof errors.JWTClaimValidationFailed) return rejected(claimFault(error));
  if (error instanceof errors.JWSSignatureVerificationFailed) return rejected('its signature does not match');
  if (error instanceof errors.JWKSNoMatchingKey) return rejected('its key is not one of the identity provider');
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported)
    return rejected(`its algorithm must be ${algorithms.join(' or ')}`);
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) return rejected('it is no signed JWT');
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    return rejected('its header kid is missing, and several keys fit');
  if (typeof key !== 'function') return rejected('it is no signed JWT');
  return new KeysUnavailable(`the keys of JWKS_URL cannot be read: ${reasonOf(error)}`, { cause: error });
}

function claimFault({ claim, reason }: InstanceType<typeof errors.JWTClaimValidationFailed>): string {
  if (reason === 'missing') return `its claim ${claim} is missing`;
  if (claim === 'nbf') return 'it is not valid yet';
  return `its claim ${claim} is not the required one`;
}

export interface TokenContent {
  readonly user: string;
  readonly roles: readonly CallerRole[];
  readonly expiresInSeconds: number;
}

/** Rejects with a TypeError if only the identity provider can sign. */
export function signToken(
  { signingKey }: Keys,
  { issuer, audience, userClaim }: TokenRules,
  { user, roles, expiresInSeconds }: TokenContent,
): Promise<string> {
  if (!signingKey) throw new TypeError('only the identity provider at JWKS_URL can sign tokens');
  const now = Math.floor(Date.now() / 1_000);
  return new SignJWT({
    [userClaim]: user,
    ...(roles.length > 0 && { roles }),
    ...(issuer !== undefined && { iss: issuer }),
    ...(audience !== undefined && { aud: audience }),
  })
    .setProtectedHeader({ alg: SECRET_ALGORITHM, typ: 'JWT' })
    .setIssuedAt(now)
    .setExpirationTime(now + expiresInSeconds)
    .sign(signingKey);
}
