// The settings of access control.
import { z } from 'zod';
import { JWT, MIN_SECRET_BYTES } from '../../infra/access/token-rules.ts';
import { isLoopback } from '../../infra/http/request-guard.ts';
import { parseHttpUrlWithoutUser } from '../../infra/http/url.ts';
import {
  choice,
  integer,
  optional,
  optionalSecret,
  type SettingsOf,
  url,
  variable,
} from '../../infra/runtime/settings.ts';

const claimValue = z.string().max(500).meta({ allowed: 'up to 500 characters' });

export const accessSettings = {
  AUTH_MODE: optional(
    choice('none', 'jwt'),
    'none: every request may do everything. jwt: requests need a token. Unset: none, which is allowed only while HOST is a loopback address.',
  ),
  JWKS_URL: optional(
    url(parseHttpUrlWithoutUser, 'a URL such as https://id.example.com/jwks.json, without a user or password'),
    'With AUTH_MODE=jwt: the public keys of the identity provider that signs the tokens (RS256, ES256 or EdDSA). Unset: AUTH_SECRET, or a key that the server creates in DATA_DIR.',
  ),
  AUTH_SECRET: optionalSecret(
    z
      .string()
      .refine((secret) => Buffer.byteLength(secret) >= MIN_SECRET_BYTES)
      .meta({ allowed: `a secret of at least ${MIN_SECRET_BYTES} bytes` }),
    'With AUTH_MODE=jwt: the secret that signs the tokens (HS256). All processes of a system share it.',
  ),
  AUTH_ISSUER: optional(claimValue, 'With AUTH_MODE=jwt: the required claim `iss` of tokens. Unset: any.'),
  AUTH_AUDIENCE: optional(
    claimValue,
    'With AUTH_MODE=jwt: the required claim `aud` of tokens. Unset: any. Required with JWKS_URL.',
  ),
  AUTH_USER_CLAIM: variable(
    z
      .string()
      .regex(/^[A-Za-z0-9_.:/-]{1,200}$/)
      .meta({ allowed: '1 to 200 characters of A-Z a-z 0-9 _ . : / -' }),
    'sub',
    'With AUTH_MODE=jwt: the claim that names the user.',
  ),
  SERVICE_TOKEN: optionalSecret(
    z.string().regex(JWT).meta({ allowed: 'a JWT' }),
    'With AUTH_MODE=jwt: the token with the role service for requests to SERVICES_URL. Unset: the process signs its own, which it can with AUTH_SECRET.',
  ),
  USER_ORDERS_PER_MINUTE: variable(
    integer(0, 1_000_000),
    '120',
    'With AUTH_MODE=jwt: how many orders and purchases a user may make in a minute. Purchases that are rejected from memory during a flood do not count, nor do those of operators and services. 0: any number. With REDIS_URL all processes count together; without it, each one counts by itself.',
  ),
  AUTH_FAILURES_PER_MINUTE: variable(
    integer(0, 1_000_000),
    '60',
    'With AUTH_MODE=jwt: how many invalid tokens (but not expired ones) may come from an address, or from an IPv6 network of 64 bits, in a minute, over HTTP and the embedded MQTT broker. Until the minute is over, no further token from there is verified; tokens that this process has verified before keep working. 0: any number. Counted as USER_ORDERS_PER_MINUTE.',
  ),
};

export type AccessSettings = SettingsOf<typeof accessSettings>;

interface Process {
  readonly HOST: string;
  readonly MQTT_URL?: string | undefined;
  readonly TLS_CERT?: string | undefined;
  readonly SERVICES_URL?: readonly string[] | undefined;
  /** Other processes run the rest of the system. */
  readonly isSeparate: boolean;
}

/** What is missing, or contradicts, as sentences that name the variables. */
export function accessProblems(
  settings: AccessSettings,
  { HOST, MQTT_URL, TLS_CERT, SERVICES_URL, isSeparate }: Process,
): string[] {
  const { AUTH_MODE, JWKS_URL, AUTH_SECRET, AUTH_AUDIENCE, SERVICE_TOKEN } = settings;
  const problems: string[] = [];
  if (AUTH_MODE === undefined && !isLoopback(HOST)) {
    const modes =
      'AUTH_MODE=jwt if requests need a token, or AUTH_MODE=none if everyone who can reach it may do everything';
    problems.push(`AUTH_MODE is missing: HOST=${HOST} may be reached from other machines: set ${modes}`);
  }
  if (AUTH_MODE !== 'jwt') {
    const without = ['JWKS_URL', 'AUTH_SECRET', 'AUTH_ISSUER', 'AUTH_AUDIENCE', 'SERVICE_TOKEN'] as const;
    for (const name of without.filter((each) => settings[each] !== undefined))
      problems.push(`${name} is for AUTH_MODE=jwt: set that, or unset ${name}`);
    return problems;
  }
  if (MQTT_URL === undefined && TLS_CERT === undefined && !isLoopback(HOST))
    problems.push(
      `TLS_CERT and TLS_KEY are missing: HOST=${HOST} may be reached from other machines, and clients of the embedded MQTT broker send tokens as passwords: set both, or MQTT_URL to a broker of your own`,
    );
  if (JWKS_URL !== undefined && AUTH_SECRET !== undefined)
    problems.push('JWKS_URL contradicts AUTH_SECRET: tokens have one kind of key; unset one of the two');
  if (JWKS_URL !== undefined && AUTH_AUDIENCE === undefined)
    problems.push(
      'AUTH_AUDIENCE is missing: with JWKS_URL, tokens for other applications of the identity provider would be accepted',
    );
  if (isSeparate && JWKS_URL === undefined && AUTH_SECRET === undefined)
    problems.push('AUTH_SECRET or JWKS_URL is missing: separate processes must accept the same tokens');
  if (JWKS_URL !== undefined && SERVICES_URL !== undefined && SERVICE_TOKEN === undefined)
    problems.push(
      'SERVICE_TOKEN is missing: with JWKS_URL, requests to SERVICES_URL need a token of the identity provider',
    );
  return problems;
}
