// TLS_CERT and TLS_KEY: HTTP, MQTT and WebSocket speak only TLS, with the certificate that the files contain now.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect as connectSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { promisify } from 'node:util';
import mqtt from 'mqtt';
import { pino } from 'pino';
import { Agent, request } from 'undici';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { parseConfig } from '../../app/config.ts';
import { secretKeys } from '../../infra/access/keys.ts';
import { signToken } from '../../infra/access/tokens.ts';
import { ServerCertificate } from '../../infra/runtime/server-certificate.ts';
import { ConfigError } from '../../infra/runtime/settings.ts';
import { createServiceProcess, type ServiceProcess, sluice } from '../fault/support/service-process.ts';
import { freePort } from '../servers/ports.ts';
import { type Certificates, type KeyPair, makeCertificates } from '../setup/certificates.ts';
import { type FreshDatabase, freshDatabase } from '../setup/postgres.ts';
import { eventually } from '../setup/wait.ts';

const run = promisify(execFile);
const SECRET = 'a secret for tests of 32 or more bytes';

let certificates: Certificates;
let folder: string;
/** The files that the process reads. */
let files: KeyPair;
let token: string;
let database: FreshDatabase;
let system: ServiceProcess;
let httpPort: number;
let mqttPort: number;
let agent: Agent;
/** Connected at the beginning, because they are closed after ten seconds. */
let slow: Promise<unknown>[];

const portOf = (url: string) => Number(new URL(url).port);
const copy = async ({ cert, key }: KeyPair) => {
  await copyFile(key, files.key);
  await copyFile(cert, files.cert);
};

/** Has sent nothing. */
async function openSocket(port: number): Promise<Socket> {
  const socket = connectSocket(port, '127.0.0.1');
  socket.on('error', () => undefined).resume();
  await once(socket, 'connect');
  return socket;
}
const silentUntilClosed = async (port: number) => once(await openSocket(port), 'close');

/** The subject of the certificate with which a port answers a handshake. */
async function handshake(port: number, options: ConnectionOptions = {}): Promise<string> {
  const socket = connectTls({ port, host: '127.0.0.1', ca: await readFile(certificates.ca), ...options });
  await once(socket, 'secureConnect');
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return String(CN);
}

/** The token's user connects. */
async function connectMqtt(url: string, password = token): Promise<mqtt.MqttClient> {
  const ca = await readFile(certificates.ca);
  const client = mqtt.connect(url, { username: 'ann', password, ca, reconnectPeriod: 0 });
  onTestFinished(() => client.endAsync(true));
  await new Promise((resolve, reject) => client.once('connect', resolve).once('error', reject));
  return client;
}

const sluiceOrder = (ca: string | undefined) =>
  run(process.execPath, [String(sluice()[0]), 'order', '--user', 'ann', '--url', system.url], {
    cwd: folder,
    env: { PATH: String(process.env.PATH), SLUICE_TOKEN: token, ...(ca && { NODE_EXTRA_CA_CERTS: ca }) },
  });

beforeAll(async () => {
  certificates = await makeCertificates();
  folder = await mkdtemp(join(tmpdir(), 'sluice-tls-'));
  files = { cert: join(folder, 'tls.pem'), key: join(folder, 'tls.key') };
  await copy(certificates);
  const rules = { issuer: undefined, audience: undefined, userClaim: 'sub', userFault: () => undefined };
  token = await signToken(await secretKeys(SECRET), rules, { user: 'ann', roles: ['operator'], expiresInSeconds: 600 });
  agent = new Agent({ connect: { ca: await readFile(certificates.ca) } });
  mqttPort = await freePort();
  // It starts sooner than an embedded one.
  database = await freshDatabase(String(inject('servers').databaseUrl));
  system = await createServiceProcess('tls', sluice(), {
    ...{ DATA_DIR: join(folder, 'data'), MQTT_PORT: String(mqttPort), AUTH_MODE: 'jwt', AUTH_SECRET: SECRET },
    ...{ TLS_CERT: files.cert, TLS_KEY: files.key, LOG_LEVEL: 'debug', DATABASE_URL: database.url },
  });
  httpPort = portOf(system.url);
  await system.start();
  slow = [silentUntilClosed(httpPort), silentUntilClosed(mqttPort)];
});
afterAll(async () => {
  await agent?.close();
  await system?.remove();
  await database?.drop();
  await certificates?.remove();
  await rm(folder, { recursive: true, force: true });
});

test('HTTP speaks TLS 1.2 and 1.3, and no older version', async () => {
  const { statusCode, body } = await request(`${system.url}/healthz`, { dispatcher: agent });
  expect([statusCode, await body.json()]).toEqual([200, { status: 'up', stalled: [] }]);
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
    expect(await handshake(httpPort, { minVersion: version, maxVersion: version })).toBe('server');
  for (const port of [httpPort, mqttPort]) {
    const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    await expect(handshake(port, old)).rejects.toThrow(/alert protocol version/);
  }
});

test("the cookie of a session is for TLS only, and the log has the servers' URLs", async () => {
  const { headers } = await request(`${system.url}/session`, {
    dispatcher: agent,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token }),
  });
  expect(headers['set-cookie']).toMatch(/; Secure$/);
  expect(await system.output()).toContain(`mqtts://127.0.0.1:${mqttPort}`);
});

test('MQTT and MQTT over WebSocket speak TLS', async () => {
  for (const url of [`mqtts://127.0.0.1:${mqttPort}`, `wss://127.0.0.1:${httpPort}/mqtt`]) {
    const client = await connectMqtt(url);
    const [granted] = await client.subscribeAsync('sluice/users/ann/notifications', { qos: 1 });
    expect(granted?.qos).toBe(1);
    await expect(connectMqtt(url, 'wrong')).rejects.toThrow('Bad username or password');
  }
});

test('a client without TLS is disconnected, which is no error of the server', async () => {
  for (const port of [httpPort, mqttPort]) {
    const socket = await openSocket(port);
    socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await once(socket, 'close');
    expect(socket.bytesRead).toBe(0);
  }
  expect(await system.output()).not.toMatch(/"level":(40|50|60)/);
});

test('commands accept the private authority of NODE_EXTRA_CA_CERTS, and say what is wrong without it', async () => {
  expect((await sluiceOrder(certificates.ca)).stdout).toMatch(/order [0-9a-f-]{36}/);
  await expect(sluiceOrder(undefined)).rejects.toMatchObject({
    stderr: expect.stringMatching(/not from an authority that this process trusts: set NODE_EXTRA_CA_CERTS/),
  });
});

test('a client that is slow in the handshake is disconnected', () => Promise.all(slow), 20_000);

test('new files take effect without a restart, once they are a pair', async () => {
  const renewed = await certificates.issue('renewed', 2);
  await copyFile(renewed.cert, files.cert);
  const failed = async () => (await system.output()).includes('is not the key of TLS_CERT');
  await eventually(failed, { what: 'the log tells of the half of a pair' });
  expect(await handshake(httpPort)).toBe('server');
  await copyFile(renewed.key, files.key);
  for (const port of [httpPort, mqttPort])
    await eventually(async () => (await handshake(port)) === 'renewed', { what: 'the new certificate' });
}, 30_000);

test('a stop does not wait for handshakes', async () => {
  const sockets = await Promise.all([openSocket(httpPort), openSocket(mqttPort)]);
  const closed = Promise.all(sockets.map((socket) => once(socket, 'close')));
  expect(await system.stop()).toEqual({ code: 0, signal: null });
  await closed;
  expect(await system.output()).not.toMatch(/left open/);
});

describe('a start is rejected', () => {
  const log = pino({ level: 'silent' });
  const problemOf = (pair: KeyPair) =>
    ServerCertificate.open(pair, log).then(
      () => 'none',
      ({ message }: Error) => message,
    );

  test('by files that are no pair, with a message that names variable and file, and says what is allowed', async () => {
    const { cert, key } = certificates;
    const [missing, text, other, past] = [
      join(folder, 'missing.pem'),
      join(folder, 'text.pem'),
      await certificates.issue('other-server', 2),
      await certificates.issue('past', -1),
    ];
    await writeFile(text, 'not a PEM file');
    const certRule = 'it must be a PEM file with a certificate, followed by those of intermediate authorities';
    const keyRule = 'it must be a PEM file with the private key of TLS_CERT, without a passphrase';
    const enoent = `(ENOENT: no such file or directory, open '${missing}')`;
    expect(await problemOf({ cert: missing, key })).toBe(`TLS_CERT=${missing} cannot be read ${enoent}: ${certRule}`);
    expect(await problemOf({ cert, key: missing })).toBe(`TLS_KEY=${missing} cannot be read ${enoent}: ${keyRule}`);
    expect(await problemOf({ cert: text, key })).toBe(`TLS_CERT=${text} has no certificate: ${certRule}`);
    expect(await problemOf({ cert, key: text })).toBe(
      `TLS_KEY=${text} has no private key that can be read: ${keyRule}`,
    );
    expect(await problemOf({ cert, key: other.key })).toBe(
      `TLS_KEY=${other.key} is not the key of TLS_CERT=${cert}: ${keyRule}`,
    );
    expect(await problemOf(past)).toMatch(/^TLS_CERT=\S+past\.pem expired on .+: renew it$/);
  });

  const problemsOf = (env: NodeJS.ProcessEnv): readonly string[] => {
    try {
      parseConfig(env);
      return [];
    } catch (error) {
      if (error instanceof ConfigError) return error.problems;
      throw error;
    }
  };

  test('by a certificate without a key, and a key without a certificate', () => {
    const problem = 'TLS_CERT and TLS_KEY must be set together: a certificate and its key';
    expect(problemsOf({ TLS_CERT: 'cert.pem' })).toEqual([problem]);
    expect(problemsOf({ TLS_KEY: 'key.pem' })).toEqual([problem]);
  });

  test('if other machines can reach an MQTT broker without TLS, and its passwords are tokens', () => {
    const env = { HOST: '0.0.0.0', AUTH_MODE: 'jwt' };
    expect(problemsOf(env)).toEqual([
      expect.stringMatching(/^TLS_CERT and TLS_KEY are missing: HOST=0\.0\.0\.0 .* set both, or MQTT_URL/),
    ]);
    for (const enough of [
      { TLS_CERT: 'cert.pem', TLS_KEY: 'key.pem' },
      { MQTT_URL: 'mqtts://broker' },
      { HOST: '127.0.0.1' },
      { AUTH_MODE: 'none' },
    ])
      expect(problemsOf({ ...env, ...enough })).toEqual([]);
  });
});
