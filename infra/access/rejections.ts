// Why a token or a request is rejected. Apart from what decides about it, so that a process without access control does
// not load the libraries for that.

/** Of every limit. */
export const WINDOW_SECONDS = 60;

/** The caller presents a token that is not valid. The message says why, and goes to the caller. */
export class TokenRejected extends Error {
  override readonly name = 'TokenRejected';
}

/** The token was valid once, so it is no guess, but that of a client that has not noticed. */
export class TokenExpired extends TokenRejected {}

/** The keys cannot be read, so nothing is known about the token. */
export class KeysUnavailable extends Error {
  override readonly name = 'KeysUnavailable';
}

/** The limit is reached. The message is for the client. */
export class RateLimited extends Error {
  override readonly name = 'RateLimited';
  readonly policy: RateLimitPolicy;
  readonly retryAfterSeconds: number;

  constructor(policy: RateLimitPolicy, resetMs: number) {
    const retryAfterSeconds = Math.max(1, Math.ceil(resetMs / 1_000));
    super(`At most ${policy.perMinute} ${policy.what} a minute are allowed. Try again in ${retryAfterSeconds} s.`);
    this.policy = policy;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** As in draft-ietf-httpapi-ratelimit-headers-10: nothing is left, until the window ends. */
  get headers() {
    const { name, perMinute } = this.policy;
    return {
      'Retry-After': String(this.retryAfterSeconds),
      'RateLimit-Policy': `"${name}";q=${perMinute};w=${WINDOW_SECONDS}`,
      RateLimit: `"${name}";r=0;t=${this.retryAfterSeconds}`,
    };
  }
}

/** The limits that there are, by the subject that each of them is for. */
export type RateLimitName = 'user' | 'address';

export interface RateLimitPolicy {
  readonly name: RateLimitName;
  readonly perMinute: number;
  /** What is limited, as in `orders and purchases of a user`. */
  readonly what: string;
}
