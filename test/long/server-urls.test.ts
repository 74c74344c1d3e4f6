// The URLs of real servers that ask for a password with every kind of character, with and without TLS.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { serverFolder } from '../../demos/shared/folder.ts';
import { RabbitmqBus } from '../../infra/bus/rabbitmq/index.ts';
import type { Database } from '../../infra/database/port.ts';
import { openPostgres } from '../../infra/database/postgres.ts';
import { ExternalPublisher } from '../../infra/mqtt/external-publisher.ts';
import { openQueues } from '../../infra/queue/index.ts';
import { freePort } from '../servers/ports.ts';
import { type Postgres, startPostgres } from '../servers/postgres.ts';
import { processRunner } from '../servers/process-runner.ts';
import { findPrograms } from '../servers/programs.ts';
import { type Rabbitmq, startRabbitmq } from '../servers/rabbitmq.ts';
import { type LocalServer, startServer } from '../servers/server.ts';
import { type Certificates, makeCertificates } from '../setup/certificates.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { addPostgresTls, addRabbitmqTls } from '../setup/server-tls.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const run = promisify(execFile);
const log = pino({ level: 'silent' });
const USER = 'shöp@a/b';
const PASSWORD = `p:a@s/s%25w#o?r&d=+ ü€'"\\,`;
const credentials = `${encodeURIComponent(USER)}:${encodeURIComponent(PASSWORD)}`;
const AWAY = '127.0.0.1:1';

let certificates: Certificates;
beforeAll(async () => {
  certificates = await makeCertificates();
});
afterAll(() => certificates.remove());

/** `user` and password in a URL of this scheme. */
const urlOf = (scheme: string, port: number | string, rest = '', login = credentials) =>
  `${scheme}://${login}@127.0.0.1:${port}${rest}`;
const WRONG = `${encodeURIComponent(USER)}:wrong`;
const portOf = (url: string) => new URL(url).port;

describe('AMQP_URL', () => {
  let server: Rabbitmq;
  let tlsPort: number;
  const VHOST = 'shöp/one 1';
  beforeAll(async () => {
    server = await startRabbitmq();
    await server.ctl('add_user', USER, PASSWORD);
    await server.ctl('add_vhost', VHOST);
    for (const vhost of ['/', VHOST]) await server.ctl('set_permissions', '-p', vhost, USER, '.*', '.*', '.*');
    tlsPort = await addRabbitmqTls(server, certificates);
  }, 120_000);
  afterAll(() => server?.stop());

  async function connects(url: string): Promise<boolean> {
    const topology = { prefix: freshPrefix(), groups: { points: ['order.placed'] } };
    const bus = new RabbitmqBus({ url, topology, log });
    cleanUps.push(() => bus.close());
    const event = { id: '1', type: 'order.placed', body: '{"id":"1"}' };
    const published = async () => (await bus.publish([event])).length === 0;
    return eventually(published, { what: url, timeoutMs: 10_000 }).catch(() => false);
  }

  test('takes a user and a password with any character, and a virtual host', async () => {
    const port = portOf(server.amqpUrl);
    expect(await connects(urlOf('amqp', port))).toBe(true);
    expect(await connects(urlOf('amqp', port, `/${encodeURIComponent(VHOST)}?heartbeat=5`))).toBe(true);
    expect(await connects(urlOf('amqp', port, '/', WRONG))).toBe(false);
  }, 60_000);

  test('checks the certificate of amqps by the given authority, and tries the nodes in turn', async () => {
    const { ca, otherCa } = certificates;
    expect(await connects(`amqp://${AWAY},${urlOf('amqps', tlsPort, `?cacertfile=${ca}`)}`)).toBe(true);
    expect(await connects(urlOf('amqps', tlsPort, '?verify=verify_none'))).toBe(true);
    expect(await connects(urlOf('amqps', tlsPort, `?cacertfile=${otherCa}`))).toBe(false);
  }, 60_000);
});

/** A server with this command. */
async function serve(
  name: string,
  ready: () => Promise<unknown>,
  command: string,
  args: readonly string[],
  folder: string,
) {
  const runner = await processRunner(folder, { command, args, env: { LC_ALL: 'C' } });
  return startServer({ name, runner, ready: async () => void (await ready()), cleanSignal: 'SIGTERM' });
}

describe('MQTT_URL', () => {
  let server: LocalServer;
  const ports = { mqtt: 0, mqtts: 0, ws: 0, wss: 0 };

  async function connects(url: string, timeoutMs = 4_000): Promise<boolean> {
    const publisher = new ExternalPublisher({ url, prefix: 'test', log });
    cleanUps.push(() => publisher.close());
    const options = { what: url, timeoutMs };
    return eventually(() => publisher.health().status === 'up', options).catch(() => false);
  }

  beforeAll(async () => {
    for (const name of ['mqtt', 'mqtts', 'ws', 'wss'] as const) ports[name] = await freePort();
    const folder = await serverFolder('mosquitto');
    const { cert, key } = certificates;
    const tls = [`certfile ${cert}`, `keyfile ${key}`];
    const listeners = [
      [`listener ${ports.mqtt} 127.0.0.1`],
      [`listener ${ports.mqtts} 127.0.0.1`, ...tls],
      [`listener ${ports.ws}`, 'protocol websockets', 'socket_domain ipv4'],
      [`listener ${ports.wss}`, 'protocol websockets', 'socket_domain ipv4', ...tls],
    ];
    const file = join(folder, 'mosquitto.conf');
    const global = ['user root', 'allow_anonymous false', `password_file ${join(folder, 'passwords')}`];
    await writeFile(file, [...global, ...listeners.flat(), ''].join('\n'));
    await run('mosquitto_passwd', ['-c', '-b', join(folder, 'passwords'), USER, PASSWORD]);
    const programs = await findPrograms('mosquitto');
    if (programs.kind !== 'installed') throw new Error('this test needs an installed Mosquitto');
    const ready = async () => {
      if (!(await connects(urlOf('mqtt', ports.mqtt), 1_000))) throw new Error('not ready');
    };
    server = await serve('Mosquitto', ready, join(programs.folder, 'mosquitto'), ['-c', file], folder);
  }, 60_000);
  afterAll(() => server?.stop());

  test('takes a user and a password with any character', async () => {
    expect(await connects(urlOf('mqtt', ports.mqtt))).toBe(true);
    expect(await connects(urlOf('ws', ports.ws, '/mqtt'))).toBe(true);
    expect(await connects(urlOf('mqtt', ports.mqtt, '', WRONG), 1_000)).toBe(false);
  });

  test('checks the certificate by the given authority', async () => {
    const { ca, otherCa } = certificates;
    expect(await connects(urlOf('mqtts', ports.mqtts, `?cacertfile=${ca}`))).toBe(true);
    expect(await connects(urlOf('wss', ports.wss, `/mqtt?cacertfile=${ca}`))).toBe(true);
    expect(await connects(urlOf('mqtts', ports.mqtts, `?cacertfile=${otherCa}`), 1_500)).toBe(false);
    expect(await connects(urlOf('wss', ports.wss, `/mqtt?cacertfile=${otherCa}`), 1_500)).toBe(false);
    const name = `?cacertfile=${ca}&server_name_indication=other.example`;
    expect(await connects(urlOf('mqtts', ports.mqtts, name), 1_500)).toBe(false);
  });

  test('tries the brokers of a list in turn, each with its own user', async () => {
    const list = `mqtt://nobody:x@${AWAY},${urlOf('mqtt', ports.mqtt, '', WRONG)},${urlOf('mqtt', ports.mqtt)}`;
    expect(await connects(list, 8_000)).toBe(true);
  });
});

describe('REDIS_URL', () => {
  let server: LocalServer;
  let port: number;
  let tlsPort: number;

  async function connects(url: string): Promise<boolean> {
    const queues = await openQueues({ on: { redisUrl: url }, prefix: freshPrefix(), log });
    try {
      return queues.health().status === 'up';
    } finally {
      await queues.close();
    }
  }

  beforeAll(async () => {
    port = await freePort();
    tlsPort = await freePort();
    const folder = await serverFolder('redis');
    const { ca, cert, key } = certificates;
    const file = join(folder, 'users.acl');
    const hash = createHash('sha256').update(PASSWORD).digest('hex');
    await writeFile(file, `user default off\nuser ${USER} on #${hash} ~* &* +@all\n`);
    const programs = await findPrograms('redis');
    if (programs.kind !== 'installed') throw new Error('this test needs an installed Redis');
    const tls = ['--tls-port', String(tlsPort), '--tls-cert-file', cert, '--tls-key-file', key];
    const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--aclfile', file];
    const ready = async () => {
      if (!(await connects(urlOf('redis', port)))) throw new Error('not ready');
    };
    const rest = ['--tls-ca-cert-file', ca, '--tls-auth-clients', 'no'];
    server = await serve('Redis', ready, join(programs.folder, programs.program), [...args, ...tls, ...rest], folder);
  }, 60_000);
  afterAll(() => server?.stop());

  test('takes a user and a password with any character, and a database', async () => {
    expect(await connects(urlOf('redis', port, '/3?family=4'))).toBe(true);
    await expect(connects(urlOf('redis', port, '', WRONG))).rejects.toThrow('it rejects the user or the password');
  });

  test('checks the certificate by the given authority', async () => {
    expect(await connects(urlOf('rediss', tlsPort, `?cacertfile=${certificates.ca}`))).toBe(true);
    expect(await connects(urlOf('rediss', tlsPort, `?cacertfile=${certificates.otherCa}`))).toBe(false);
    expect(await connects(urlOf('rediss', tlsPort, '?verify=verify_none'))).toBe(true);
  });
});

describe('DATABASE_URL', () => {
  let server: Postgres;
  const DATABASE = 'shöp/one 1';
  const database = `/${encodeURIComponent(DATABASE)}`;
  beforeAll(async () => {
    server = await startPostgres();
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    const quoted = (text: string) => client.escapeIdentifier(text);
    await client.query(`CREATE ROLE ${quoted(USER)} LOGIN PASSWORD ${client.escapeLiteral(PASSWORD)}`);
    await client.query(`CREATE DATABASE ${quoted(DATABASE)} OWNER ${quoted(USER)}`);
    const hba = await addPostgresTls(client, certificates);
    await writeFile(hba, `host all postgres all trust\nhost all all all scram-sha-256\n${await readFile(hba, 'utf8')}`);
    await client.query('SELECT pg_reload_conf()');
    await client.end();
    await eventually(async () => (await tls(url('?sslmode=require'))) === true, { what: 'the server has TLS' });
  }, 60_000);
  afterAll(() => server?.stop());

  async function open<T>(url: string, work: (database: Database) => Promise<T>): Promise<T> {
    const opened = openPostgres({ url, poolSize: 1, log });
    try {
      return await work(opened);
    } finally {
      await opened.close();
    }
  }
  /** Whether the session is encrypted; undefined if there is none. */
  const tls = (url: string) =>
    open(url, async (opened) => {
      const text = 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()';
      return (await opened.query<{ ssl: boolean }>(text))[0]?.ssl;
    }).catch(() => undefined);
  const url = (rest: string, login = credentials) => urlOf('postgres', portOf(server.url), database + rest, login);

  test('takes a user, a password and a database with any character', async () => {
    expect(await tls(url(''))).toBe(false);
    expect(await tls(url('', WRONG))).toBeUndefined();
  });

  test('has the TLS modes of libpq', async () => {
    const { ca, otherCa } = certificates;
    const named = url('').replace('127.0.0.1', 'localhost');
    expect(await tls(url('?sslmode=disable'))).toBe(false);
    expect(await tls(url('?sslmode=require'))).toBe(true);
    expect(await tls(url(`?sslmode=require&sslrootcert=${otherCa}`))).toBeUndefined();
    expect(await tls(url(`?sslmode=verify-ca&sslrootcert=${ca}`))).toBe(true);
    expect(await tls(url(`?sslmode=verify-full&sslrootcert=${ca}`))).toBe(true);
    expect(await tls(`${named}?sslmode=verify-full&sslrootcert=${ca}`)).toBe(true);
    expect(await tls(url(`?sslmode=verify-full&sslrootcert=${otherCa}`))).toBeUndefined();
    expect(await tls(url('?sslmode=verify-full'))).toBeUndefined();
  });

  test('its parameters take effect', async () => {
    const query = '?application_name=sh%C3%B6p%20a&options=-c%20work_mem%3D8MB%20--search-path%3Da%2C%5C%20b';
    const shown = await open(url(query), (opened) =>
      opened.query("SELECT current_setting('work_mem') AS memory, current_setting('application_name') AS name"),
    );
    expect(shown).toEqual([{ memory: '8MB', name: expect.stringMatching(/^sh.*p a$/) }]);
  });
});
