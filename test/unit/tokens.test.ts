// Tokens: which are accepted, which are rejected and why, and what is remembered. The keys are real.
import { createHmac, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { base64url, EncryptJWT, exportJWK, generateKeyPair, type JWK, SignJWT, UnsecuredJWT } from 'jose';
import { describe, expect, test, vi } from 'vitest';
import { tokenRules } from '../../app/access/token-access.ts';
import { mayActFor, mayUse } from '../../infra/access/caller.ts';
import { localSecret, remoteKeys, secretKeys } from '../../infra/access/keys.ts';
import { signToken, TokenVerifier } from '../../infra/access/tokens.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { listen } from '../setup/listen.ts';

const ADDRESS = '192.0.2.1';
const SECRET = 'a secret of at least 32 bytes, for tests';
const rulesOf = (changes: { AUTH_ISSUER?: string; AUTH_AUDIENCE?: string; AUTH_USER_CLAIM?: string } = {}) =>
  tokenRules({ AUTH_MODE: 'jwt', AUTH_USER_CLAIM: 'sub', ...changes } as Parameters<typeof tokenRules>[0]);
const rules = rulesOf();
const seconds = (fromNow: number) => Math.floor(Date.now() / 1_000) + fromNow;

const sign = (claims: object, header: object = {}, secret = SECRET) =>
  new SignJWT({ sub: 'ada', exp: seconds(60), ...claims })
    .setProtectedHeader({ alg: 'HS256', ...header })
    .sign(new TextEncoder().encode(secret));

const verifierOf = async (changes = {}) => new TokenVerifier(await secretKeys(SECRET), rulesOf(changes));

describe('a token that is signed with the secret', () => {
  test('names its user and the known roles', async () => {
    const verifier = await verifierOf();
    const exp = seconds(60);
    expect(await verifier.verify(await sign({ exp }), ADDRESS)).toEqual({
      who: 'ada',
      user: 'ada',
      roles: [],
      expiresAt: exp,
    });
    const roles = ['operator', 'service', 'root', 7];
    expect(await verifier.verify(await sign({ roles, exp }), ADDRESS)).toMatchObject({
      roles: ['operator', 'service'],
    });
  });

  test.for<[string, object, object, string]>([
    ['has expired', { exp: seconds(-31) }, {}, 'it has expired'],
    ['never expires', { exp: undefined }, {}, 'its claim exp is missing'],
    ['has a text as its expiry', { exp: '2099-01-01' }, {}, 'its claim exp is not the required one'],
    ['is not valid yet', { nbf: seconds(60) }, {}, 'it is not valid yet'],
    ['has another issuer', { iss: 'https://evil.example', aud: 'shop' }, {}, 'its claim iss is not the required one'],
    ['has no issuer', { aud: 'shop' }, {}, 'its claim iss is missing'],
    ['has another audience', { iss: 'https://id.example', aud: ['bank'] }, {}, 'its claim aud is not the required one'],
    ['has no user', { sub: undefined }, {}, 'its claim sub is missing'],
    ['has a number as its user', { sub: 7 }, {}, 'its claim sub must be a string'],
    [
      'has a user with a slash',
      { sub: '../bob' },
      {},
      'its claim sub must be 1 to 64 characters of A-Z a-z 0-9 _ . : @ -',
    ],
    ['has a role that is no list', { roles: 'operator' }, {}, 'its claim roles must be a list'],
    ['has roles that are an object', { roles: { operator: true } }, {}, 'its claim roles must be a list'],
    ['has an unknown critical header', {}, { crit: ['b64'], b64: false }, 'it is no signed JWT'],
  ])('%s: rejected', async ([name, claims, header, reason]) => {
    const needsIssuer = /issuer|audience/.test(name);
    const verifier = await verifierOf(needsIssuer ? { AUTH_ISSUER: 'https://id.example', AUTH_AUDIENCE: 'shop' } : {});
    const given = needsIssuer && !('iss' in claims) && !name.includes('no issuer') ? { iss: 'https://id.example' } : {};
    const token = 'b64' in header ? await unencoded(claims, header) : await sign({ ...given, ...claims }, header);
    await expect(verifier.verify(token, ADDRESS)).rejects.toThrow(
      expect.objectContaining({ name: 'TokenRejected', message: reason }),
    );
    expect(verifier.known(token)).toBeUndefined();
  });

  test('may be early or late by half a minute, as clocks differ', async () => {
    const verifier = await verifierOf();
    for (const claims of [{ exp: seconds(-20) }, { nbf: seconds(20) }])
      expect(await verifier.verify(await sign(claims), ADDRESS)).toMatchObject({ user: 'ada' });
  });

  test('has its user in the configured claim', async () => {
    const verifier = await verifierOf({ AUTH_USER_CLAIM: 'email' });
    expect(await verifier.verify(await sign({ email: 'ada@example.com' }), ADDRESS)).toMatchObject({
      user: 'ada@example.com',
    });
    await expect(verifier.verify(await sign({}), ADDRESS)).rejects.toThrow('its claim email is missing');
  });
});

/** A token whose payload is not encoded, which an option of JWS allows and a JWT does not. */
async function unencoded(claims: object, header: object): Promise<string> {
  const protectedHeader = base64url.encode(JSON.stringify({ alg: 'HS256', ...header }));
  const payload = JSON.stringify({ sub: 'ada', exp: seconds(60), ...claims });
  const signature = createHmac('sha256', SECRET).update(`${protectedHeader}.${payload}`).digest('base64url');
  return `${protectedHeader}.${payload}.${signature}`;
}

describe('a token that nobody with the key has made', () => {
  const changed = (token: string, part: number, change: (json: Record<string, unknown>) => void) => {
    const parts = token.split('.');
    const json = JSON.parse(Buffer.from(parts[part] ?? '', 'base64url').toString());
    change(json);
    parts[part] = base64url.encode(JSON.stringify(json));
    return parts.join('.');
  };
  const unsecured = () => new UnsecuredJWT({ sub: 'ada' }).setExpirationTime('1h').encode();

  test.for<[string, () => string | Promise<string>]>([
    ['without a signature: alg none', unsecured],
    [
      'alg none in other letters',
      async () => changed(unsecured(), 0, (header) => Object.assign(header, { alg: 'nOnE' })),
    ],
    [
      'alg none with the signature of another',
      async () => changed(await sign({}), 0, (header) => Object.assign(header, { alg: 'none' })),
    ],
    ['without its signature', async () => (await sign({})).replace(/[^.]*$/, '')],
    ['with another user', async () => changed(await sign({}), 1, (claims) => Object.assign(claims, { sub: 'bob' }))],
    [
      'with one more role',
      async () => changed(await sign({}), 1, (claims) => Object.assign(claims, { roles: ['operator'] })),
    ],
    ['signed with another secret', () => sign({}, {}, `${SECRET}!`)],
    ['signed with an empty secret', async () => signedBy('')],
    ['another algorithm with the same secret', () => sign({}, { alg: 'HS512' })],
    ['a kid that is a path', () => sign({}, { kid: '../../../../dev/null' }, '\0'.repeat(32))],
    [
      'a key of its own in the header',
      () => sign({}, { jwk: { kty: 'oct', k: base64url.encode('x'.repeat(32)) } }, 'x'.repeat(32)),
    ],
    [
      'encrypted instead of signed',
      () =>
        new EncryptJWT({ sub: 'ada' })
          .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
          .setExpirationTime('1h')
          .encrypt(randomBytes(32)),
    ],
    ['two payloads', async () => `${await sign({})}.${base64url.encode('{"sub":"bob"}')}`],
    ['larger than the limit', () => sign({ padding: 'x'.repeat(9_000) })],
    ['no JSON inside', async () => `${base64url.encode('x')}.${base64url.encode('y')}.${base64url.encode('z')}`],
    ['empty', () => ''],
    ['only dots', () => '..'],
    ['a NUL', () => '\0.\0.\0'],
    ['followed by a line feed', async () => `${await sign({})}\n`],
    ['with padding', async () => `${await sign({})}=`],
  ])('is rejected: %s', async ([, make]) => {
    const verifier = await verifierOf();
    const token = await make();
    await expect(verifier.verify(token, ADDRESS)).rejects.toThrow(expect.objectContaining({ name: 'TokenRejected' }));
    expect(verifier.known(token)).toBeUndefined();
  });

  const signedBy = (secret: string) => {
    const text = `${base64url.encode('{"alg":"HS256"}')}.${base64url.encode(JSON.stringify({ sub: 'ada', exp: seconds(60) }))}`;
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
  };
});

describe('a verified token', () => {
  test('is known until it expires', async () => {
    const verifier = await verifierOf();
    const [lasting, ending] = [await sign({}), await sign({ exp: seconds(1) })];
    expect(verifier.known(lasting)).toBeUndefined();
    const callers = await Promise.all([lasting, ending].map((token) => verifier.verify(token, ADDRESS)));
    expect([lasting, ending].map((token) => verifier.known(token))).toEqual(callers);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 32_000 });
    cleanUps.push(() => vi.useRealTimers());
    expect(verifier.known(ending)).toBeUndefined();
    expect(verifier.known(lasting)).toEqual(callers[0]);
  });

  test('is forgotten in favour of newer ones, in bounded memory', async () => {
    const verifier = await verifierOf();
    // Tokens of 8 kB, of which the memory of 16 MiB holds about 2,000.
    const first = await sign({ padding: 'x'.repeat(5_900) });
    await verifier.verify(first, ADDRESS);
    for (let number = 0; number < 2_100; number++)
      await verifier.verify(await sign({ number, padding: 'x'.repeat(5_900) }), ADDRESS);
    expect(verifier.known(first)).toBeUndefined();
  });
});

describe('the keys of an identity provider', () => {
  const algorithms = ['RS256', 'ES256', 'EdDSA'] as const;
  const newKey = async (kid: string, alg: string) => {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
    const jwk: JWK = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' };
    const signed = (claims: object = {}, header: object = {}) =>
      new SignJWT({ sub: 'ada', exp: seconds(60), ...claims })
        .setProtectedHeader({ alg, kid, ...header })
        .sign(privateKey);
    return { jwk, publicKey, signed };
  };

  /** A real server; `keys` and `status` may change while it runs. */
  const provider = async (keys: JWK[]) => {
    const state = { keys, status: 200, requests: 0 };
    const server = createServer((_request, response) => {
      state.requests++;
      response
        .writeHead(state.status, { 'Content-Type': 'application/json' })
        .end(JSON.stringify({ keys: state.keys }));
    });
    const port = await listen(server);
    cleanUps.push(() => server.close().closeAllConnections());
    return Object.assign(state, {
      url: `http://127.0.0.1:${port}/jwks.json`,
      close: () => server.close().closeAllConnections(),
    });
  };

  test.for(algorithms)('verify tokens: %s', async (alg) => {
    const key = await newKey('one', alg);
    const { url } = await provider([key.jwk]);
    const verifier = new TokenVerifier(remoteKeys(url), rules);
    expect(await verifier.verify(await key.signed({ roles: ['operator'] }), ADDRESS)).toMatchObject({
      user: 'ada',
      roles: ['operator'],
    });
  });

  test('cannot be used as the secret of HS256, nor with another algorithm of their kind', async () => {
    const key = await newKey('one', 'RS256');
    const { url } = await provider([key.jwk]);
    const verifier = new TokenVerifier(remoteKeys(url), rules);
    const asSecret = await sign({}, { kid: 'one' }, JSON.stringify(key.jwk));
    await expect(verifier.verify(asSecret, ADDRESS)).rejects.toThrow('its algorithm must be RS256 or ES256 or EdDSA');
    const { privateKey } = await generateKeyPair('PS256');
    const other = await new SignJWT({ sub: 'ada' })
      .setProtectedHeader({ alg: 'PS256', kid: 'one' })
      .setExpirationTime('1h')
      .sign(privateKey);
    await expect(verifier.verify(other, ADDRESS)).rejects.toThrow('its algorithm must be');
  });

  test('are read again for a new key, and seldom for unknown ones', async () => {
    const [one, two] = [await newKey('one', 'ES256'), await newKey('two', 'ES256')];
    const state = await provider([one.jwk]);
    const verifier = new TokenVerifier(remoteKeys(state.url), rules);
    await verifier.verify(await one.signed(), ADDRESS);
    expect(state.requests).toBe(1);
    // Within the cool-down, unknown keys cause no request, however many tokens name them.
    for (let number = 0; number < 20; number++)
      await expect(verifier.verify(await two.signed({}, { kid: `unknown-${number}` }), ADDRESS)).rejects.toThrow(
        'its key is not one',
      );
    expect(state.requests).toBe(1);
    state.keys = [one.jwk, two.jwk];
    const later = new TokenVerifier(remoteKeys(state.url), rules);
    expect(await later.verify(await two.signed(), ADDRESS)).toMatchObject({ user: 'ada' });
  });

  test.for([503, 302])(
    'that cannot be read reject nothing: KeysUnavailable, while known tokens work: %s',
    async (status) => {
      const key = await newKey('one', 'ES256');
      const state = await provider([key.jwk]);
      const verifier = new TokenVerifier(remoteKeys(state.url), rules);
      const known = await key.signed();
      await verifier.verify(known, ADDRESS);
      const fresh = new TokenVerifier(remoteKeys(state.url), rules);
      state.status = status;
      await expect(fresh.verify(known, ADDRESS)).rejects.toThrow(expect.objectContaining({ name: 'KeysUnavailable' }));
      const { requests } = state;
      for (let number = 0; number < 50; number++)
        await expect(fresh.verify(known, ADDRESS)).rejects.toThrow(
          expect.objectContaining({ name: 'KeysUnavailable' }),
        );
      // Its failure counts for two seconds.
      expect(state.requests - requests).toBeLessThan(10);
      state.close();
      await expect(fresh.verify(known, ADDRESS)).rejects.toThrow(expect.objectContaining({ name: 'KeysUnavailable' }));
      expect(verifier.known(known)).toMatchObject({ user: 'ada' });
    },
  );
});

describe('the local key', () => {
  let folder: string;
  const newFolder = async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-key-'));
    cleanUps.push(() => rm(folder, { recursive: true }));
    return folder;
  };

  test('is created once, for the owner alone, even by processes that start together', async () => {
    const dataDir = join(await newFolder(), 'data');
    const secrets = await Promise.all(Array.from({ length: 8 }, () => localSecret(dataDir)));
    expect(new Set(secrets).size).toBe(1);
    expect(Buffer.from(secrets[0] ?? '', 'base64url')).toHaveLength(32);
    expect((await stat(join(dataDir, 'auth-key'))).mode & 0o777).toBe(0o600);
    expect(await readFile(join(dataDir, 'auth-key'), 'utf8')).toBe(secrets[0]);
    expect(await localSecret(dataDir)).toBe(secrets[0]);
  });

  test('is rejected if others may read it, or if it is cut short', async () => {
    const file = join(await newFolder(), 'auth-key');
    await writeFile(file, 'x'.repeat(43), { mode: 0o644 });
    await expect(localSecret(folder)).rejects.toThrow(`${file} may be read by other users: \`chmod 600 ${file}\``);
    await rm(file);
    await writeFile(file, 'short', { mode: 0o600 });
    await expect(localSecret(folder)).rejects.toThrow(`${file} is damaged`);
  });

  test('signs tokens that the verifier accepts', async () => {
    const keys = await secretKeys(await localSecret(await newFolder()));
    const all = rulesOf({ AUTH_ISSUER: 'https://id.example', AUTH_AUDIENCE: 'shop', AUTH_USER_CLAIM: 'email' });
    const token = await signToken(keys, all, { user: 'ada', roles: ['service'], expiresInSeconds: 60 });
    expect(await new TokenVerifier(keys, all).verify(token, ADDRESS)).toMatchObject({
      user: 'ada',
      roles: ['service'],
    });
    const verifier = new TokenVerifier(keys, all);
    expect(verifier.signedUser(token)).toBe('ada');
    const [header, payload, signature] = token.split('.');
    const forged = base64url.encode(JSON.stringify({ email: 'bob' }));
    for (const other of [`${header}.${forged}.${signature}`, `${header}.${payload}.`, `${token}x`, 'x.y.z', ''])
      expect(verifier.signedUser(other)).toBeUndefined();
  });

  test.for([
    ['text', 'ada'],
    ['null', 'null'],
    ['a list', '["ada"]'],
    ['expired', `{"sub":"ada","exp":${seconds(-31)}}`],
    ['without expiry', '{"sub":"ada"}'],
    ['with a text as its expiry', '{"sub":"ada","exp":"9999999999"}'],
    ['with a list as its user', `{"sub":["ada"],"exp":${seconds(60)}}`],
    ['with a user that is none', `{"sub":"a/b","exp":${seconds(60)}}`],
  ])('no signature makes a user of a payload that is %s', async ([, payload]) => {
    const text = `${base64url.encode('{"alg":"HS256"}')}.${base64url.encode(String(payload))}`;
    const token = `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
    expect((await verifierOf()).signedUser(token)).toBeUndefined();
    await expect((await verifierOf()).verify(token, undefined)).rejects.toThrow();
  });
});

describe('roles', () => {
  const anonymous = { who: 'anonymous', roles: [] };
  const buyer = { who: 'ada', user: 'ada', roles: [] };
  const service = { who: 'sluice', user: 'sluice', roles: ['service'] } as const;
  const operator = { who: 'olga', user: 'olga', roles: ['operator'] } as const;

  test.for([
    ['public', [true, true, true, true]],
    ['buyer', [false, true, true, true]],
    ['service', [false, false, true, true]],
    ['operator', [false, false, false, true]],
  ] as const)('%s', ([access, expected]) => {
    expect([anonymous, buyer, service, operator].map((caller) => mayUse(caller, access))).toEqual(expected);
  });

  test('a buyer acts for itself, an operator for everybody', () => {
    expect([anonymous, buyer, service, operator].map((caller) => mayActFor(caller, 'ada'))).toEqual([
      false,
      true,
      false,
      true,
    ]);
    expect(mayActFor(buyer, 'Ada')).toBe(false);
  });
});
