// The keys of tokens: those of an identity provider (JWKS_URL), a shared secret (AUTH_SECRET), or a secret that the
// server creates in its data folder.
import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { link, open, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type CryptoKey, createRemoteJWKSet, customFetch, type FetchImplementation, type JWTVerifyGetKey } from 'jose';
import { makeDataDir } from '../runtime/data-dir.ts';
import { reasonOf } from '../runtime/reason.ts';
import { StartupError } from '../runtime/startup-error.ts';
import { MIN_SECRET_BYTES } from './token-rules.ts';

/** The algorithm of tokens that are signed with a secret. */
export const SECRET_ALGORITHM = 'HS256';

/** One for each kind of key: RSA, P-256, Ed25519. A token cannot choose another one for the same key. */
const PUBLIC_KEY_ALGORITHMS = ['RS256', 'ES256', 'EdDSA'];

/** How long a request to the identity provider may take; a token of an unknown key waits for it. */
const JWKS_TIMEOUT_MS = 5_000;
/** Keys are read again after this time, and at most this often for tokens whose key is unknown. */
const JWKS_MAX_AGE_MS = 600_000;
const JWKS_COOLDOWN_MS = 30_000;
/** How long the failure of an identity provider counts, before the next request. */
const JWKS_RETRY_MS = 2_000;

export interface Keys {
  readonly algorithms: readonly string[];
  /** The key that verifies a token. */
  readonly key: CryptoKey | JWTVerifyGetKey;
  /** The key that signs tokens; undefined if only the identity provider can. */
  readonly signingKey: CryptoKey | undefined;
  /** The same key for Node's own crypto, which needs no promise. */
  readonly secret: KeyObject | undefined;
}

/** jose limits the requests that succeed; this limits those that fail, which every token would repeat. */
function seldomAfterFailures(request: FetchImplementation): FetchImplementation {
  let failure: { readonly error: unknown; readonly until: number } | undefined;
  return async (url, options) => {
    if (failure && performance.now() < failure.until) throw failure.error;
    try {
      const response = await request(url, options);
      if (response.status !== 200) throw new Error(`status ${response.status}`);
      failure = undefined;
      return response;
    } catch (error) {
      failure = { error, until: performance.now() + JWKS_RETRY_MS };
      throw error;
    }
  };
}

/** The public keys of an identity provider, read when the first token comes. */
export const remoteKeys = (url: string): Keys => ({
  algorithms: PUBLIC_KEY_ALGORITHMS,
  key: createRemoteJWKSet(new URL(url), {
    timeoutDuration: JWKS_TIMEOUT_MS,
    cacheMaxAge: JWKS_MAX_AGE_MS,
    cooldownDuration: JWKS_COOLDOWN_MS,
    [customFetch]: seldomAfterFailures(fetch),
  }),
  signingKey: undefined,
  secret: undefined,
});

export async function secretKeys(secret: string): Promise<Keys> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', Buffer.from(secret), algorithm, false, ['sign', 'verify']);
  return { algorithms: [SECRET_ALGORITHM], key, signingKey: key, secret: createSecretKey(secret, 'utf8') };
}

/** The file of the local secret. */
const FILE = 'auth-key';

/**
 * The secret in the data folder, which is created if it is missing. Rejects with a StartupError if others may read the
 * file, if it is damaged, or if the folder cannot be used.
 */
export async function localSecret(dataDir: string): Promise<string> {
  const file = join(dataDir, FILE);
  try {
    await makeDataDir(dataDir);
    const { mode } = await stat(file).catch(() => createSecret(file).then(() => stat(file)));
    if (process.platform !== 'win32' && (mode & 0o077) !== 0)
      throw new StartupError(`${file} may be read by other users: \`chmod 600 ${file}\`, or delete it for a new key`);
    const secret = await readFile(file, 'utf8');
    if (Buffer.byteLength(secret) < MIN_SECRET_BYTES)
      throw new StartupError(`${file} is damaged: delete it for a new key; the tokens of the old one end`);
    return secret;
  } catch (error) {
    if (error instanceof StartupError) throw error;
    throw new StartupError(`${file} cannot be used for the key of tokens: ${reasonOf(error)}`, { cause: error });
  }
}

/** Creates the file, whole or not at all, unless it exists, even if several processes do so at once. */
async function createSecret(file: string): Promise<void> {
  const draft = `${file}.${process.pid}-${randomBytes(4).toString('hex')}`;
  try {
    const created = await open(draft, 'wx', 0o600);
    try {
      await created.writeFile(randomBytes(MIN_SECRET_BYTES).toString('base64url'));
      await created.sync();
    } finally {
      await created.close();
    }
    await link(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(draft, { force: true });
  }
}
