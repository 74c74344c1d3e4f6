// What tokens and their keys must be like.

/** The form of a token: three parts, each in base64url. */
export const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** As RFC 7518 requires of HS256: as long as the hash. */
export const MIN_SECRET_BYTES = 32;

/** What a token must say, and where it says it. */
export interface TokenRules {
  /** Required values of the claims `iss` and `aud`; undefined: any. */
  readonly issuer: string | undefined;
  readonly audience: string | undefined;
  /** The claim that names the user. */
  readonly userClaim: string;
  /** Why a value of that claim names no user, such as `must be a string`; undefined: it does. */
  readonly userFault: (value: unknown) => string | undefined;
}
