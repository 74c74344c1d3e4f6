// The commands and settings of docs/operations.md, "Least privilege and TLS", on servers with certificates of a private
// authority: they suffice to migrate and run the system, and each user may do nothing else.
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import amqp from 'amqplib';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { schemaOf } from '../../app/schemas.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import { serverFolder } from '../../demos/shared/folder.ts';
import { openPostgres } from '../../infra/database/postgres.ts';
import { createServiceProcess, type ServiceProcess, sluice } from '../fault/support/service-process.ts';
import { type Mosquitto, startMosquitto } from '../servers/mosquitto.ts';
import { type Postgres, startPostgres } from '../servers/postgres.ts';
import { type Rabbitmq, startRabbitmq } from '../servers/rabbitmq.ts';
import { type LocalRedis, startRedis } from '../servers/redis.ts';
import { ServerGroup } from '../servers/server.ts';
import { buy, createSale, over, ticketOf } from '../service/support/flash-sales.ts';
import { completed, freshUser, placeOrder } from '../setup/api.ts';
import { type Certificates, makeCertificates } from '../setup/certificates.ts';
import { addPostgresTls, addRabbitmqTls, addRedisTls } from '../setup/server-tls.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const [PROGRAM = ''] = sluice();

let blocks: ReadonlyMap<string, string>;
let certificates: Certificates;
let postgres: Postgres;
let rabbitmq: Rabbitmq;
let redis: LocalRedis;
let mosquitto: Mosquitto;
let admin: Client;
let redisAdmin: Redis;
/** The ports with TLS. */
let ports: { readonly rabbitmq: number; readonly redis: number };
let folder: string;
const servers = new ServerGroup();
const processes = new Map<ServiceName, ServiceProcess>();

const block = (name: string): string => {
  const text = blocks.get(name);
  if (text === undefined) throw new Error(`docs/operations.md has no block tested: ${name}`);
  return text;
};

/** The arguments of each call of a program in a block, as the shell splits them. */
async function callsOf(program: string, name: string): Promise<string[][]> {
  const { stdout } = await run('bash', ['-ec', `${program}() { printf '%s\\t' "$@"; echo; }\n${block(name)}`]);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.trimEnd().split('\t'));
}

type Urls = Readonly<Record<'DATABASE_URL' | 'AMQP_URL' | 'REDIS_URL', string>>;

/** The URLs that a block gives to `npx sluice`, with the servers and the authority of this test. */
async function urlsOf(name: string, ca = certificates.ca): Promise<Urls> {
  const names = ['DATABASE_URL', 'AMQP_URL', 'REDIS_URL'];
  const prelude = `npx() { for name in ${names.join(' ')}; do echo "\${!name}"; done; }`;
  const { stdout } = await run('bash', ['-ec', `${prelude}\n${block(name)}`]);
  const placed = stdout
    .replaceAll('@db:5432', `@localhost:${new URL(postgres.url).port}`)
    .replaceAll('@rabbitmq:5671', `@localhost:${ports.rabbitmq}`)
    .replaceAll('@redis:6380', `@localhost:${ports.redis}`)
    .replaceAll('/etc/sluice/ca.pem', ca);
  const values = placed.split('\n');
  return Object.fromEntries(names.map((each, index) => [each, values[index] ?? ''])) as Urls;
}

const as = (role: string, { DATABASE_URL, ...rest }: Urls): Urls => ({
  ...rest,
  DATABASE_URL: DATABASE_URL.replace('sluice_flash_sale:', `${role}:`),
});

const environment = (urls: Urls) => ({
  ...urls,
  MIGRATE: 'off',
  MQTT_URL: mosquitto.mqttUrl,
  DATA_DIR: folder,
  PAYMENT_URL: 'http://127.0.0.1:1', // no order here needs a payment
});

/** Runs a command of the program, and returns its exit code and output. */
const command = (args: readonly string[], env: Readonly<Record<string, string>>) =>
  run(process.execPath, [PROGRAM, ...args], { cwd: folder, env: { PATH: String(process.env.PATH), ...env } }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }) => ({ code, stdout, stderr }),
  );

async function startServers(): Promise<void> {
  [certificates, postgres, rabbitmq, redis, mosquitto] = await Promise.all([
    makeCertificates(),
    startPostgres().then((server) => servers.add(server)),
    startRabbitmq().then((server) => servers.add(server)),
    startRedis().then((server) => servers.add(server)),
    startMosquitto().then((server) => servers.add(server)),
  ]);
  admin = new Client({ connectionString: postgres.url });
  await admin.connect();
  await admin.query('CREATE DATABASE shop');
  const hba = await addPostgresTls(admin, certificates);
  await writeFile(hba, 'host all postgres all trust\nhostssl all all all scram-sha-256\n');
  await admin.query('SELECT pg_reload_conf()');
  redisAdmin = new Redis(redis.redisUrl);
  ports = {
    rabbitmq: await addRabbitmqTls(rabbitmq, certificates),
    redis: await addRedisTls(redisAdmin, certificates),
  };
}

beforeAll(async () => {
  const docs = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  blocks = new Map(
    [...docs.matchAll(/<!-- tested: ([a-z-]+) -->\n```sh\n([\s\S]*?)\n```/g)].map(([, name = '', text = '']) => [
      name,
      text,
    ]),
  );
  folder = await serverFolder('least-privilege');
  await startServers();

  const { port } = new URL(postgres.url);
  const env = { PATH: String(process.env.PATH), PGHOST: '127.0.0.1', PGPORT: port, PGUSER: 'postgres' };
  await run('bash', ['-ec', block('postgresql')], { cwd: ROOT, env });
  for (const args of await callsOf('rabbitmqctl', 'rabbitmq')) await rabbitmq.ctl(...args);
  for (const [name = '', ...args] of await callsOf('redis-cli', 'redis')) await redisAdmin.call(name, ...args);

  expect(await command(['migrate'], await urlsOf('migrate'))).toMatchObject({ code: 0 });
  const urls = await urlsOf('start');
  for (const name of serviceNames)
    processes.set(name, await createServiceProcess(name, sluice(name), environment(as(schemaOf(name), urls))));
  await Promise.all([...processes.values()].map((each) => each.start()));
});
afterAll(async () => {
  await Promise.all([...processes.values()].map((each) => each.remove()));
  await admin?.end();
  redisAdmin?.disconnect();
  await servers.stop();
  await certificates?.remove();
});

const urlOf = (name: ServiceName) => String(processes.get(name)?.url);

test('services with few rights complete an order and the purchase of a flash sale', async () => {
  const order = await placeOrder(urlOf('order'), freshUser());
  const sale = await createSale(urlOf('flash-sale'), { stock: 3, drainPerSecond: 10 });
  ticketOf(await buy(urlOf('flash-sale'), sale.id, freshUser()));
  await completed(urlOf('order'), order.id);
  expect((await over(urlOf('flash-sale'), sale.id)).counts).toMatchObject({ admitted: 1, ordered: 1 });
  const { rows } = await admin.query(
    `SELECT usename AS role, bool_and(ssl) AS encrypted FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
     WHERE starts_with(usename, 'sluice_') GROUP BY usename ORDER BY usename`,
  );
  expect(rows).toEqual(
    serviceNames
      .map(schemaOf)
      .sort()
      .map((role) => ({ role, encrypted: true })),
  );
}, 60_000);

describe('cannot do anything else:', () => {
  test('the role of a service', async () => {
    const { DATABASE_URL: url } = as('sluice_points', await urlsOf('start'));
    const database = openPostgres({ url, poolSize: 1, log: pino({ level: 'silent' }) });
    try {
      await expect(database.query('SELECT FROM sluice_points.entries')).resolves.toBeDefined();
      for (const [statement, problem] of [
        ['SELECT FROM sluice_order.orders', 'permission denied for schema sluice_order'],
        ['DELETE FROM sluice_order.inbox', 'permission denied for schema sluice_order'],
        ['SELECT FROM bullmq.job', 'permission denied for schema bullmq'],
        ['CREATE TABLE sluice_points.more ()', 'permission denied for schema sluice_points'],
        ['CREATE TABLE public.more ()', 'permission denied for schema public'],
        ['CREATE SCHEMA more', 'permission denied for database shop'],
        ['DELETE FROM sluice_admin.operator_actions', 'permission denied for table operator_actions'],
        ['TRUNCATE sluice_points.entries', 'permission denied for table entries'],
        ['SET ROLE sluice_migrator', 'permission denied to set role "sluice_migrator"'],
      ] as const)
        await expect(database.query(statement), statement).rejects.toThrow(problem);
    } finally {
      await database.close();
    }
  });

  test('the user of RabbitMQ', async () => {
    const foreign = await amqp.connect(rabbitmq.amqpUrl);
    await (await foreign.createChannel()).assertQueue('foreign');
    const connection = await amqp.connect(
      { protocol: 'amqps', hostname: 'localhost', port: ports.rabbitmq, username: 'shop', password: 'secret' },
      { ca: [await readFile(certificates.ca)] },
    );
    try {
      for (const attempt of [
        (channel: amqp.Channel) => channel.deleteQueue('foreign'),
        (channel: amqp.Channel) => channel.get('foreign'),
        (channel: amqp.Channel) => channel.purgeQueue('foreign'),
        (channel: amqp.Channel) => channel.assertQueue('another'),
        (channel: amqp.Channel) => channel.assertQueue('sluicex'),
      ]) {
        const channel = await connection.createChannel();
        channel.on('error', () => undefined); // the broker closes it
        await expect(attempt(channel), String(attempt)).rejects.toThrow('ACCESS_REFUSED');
      }
    } finally {
      await connection.close();
      await foreign.close();
    }
  });

  test('the user of Redis', async () => {
    await redisAdmin.set('foreign', 'secret');
    const { port } = new URL(redis.redisUrl);
    const client = new Redis({ port: Number(port), username: 'shop', password: 'secret' });
    try {
      await client.set('sluice:mine', '1');
      for (const [name, ...args] of [
        ['GET', 'foreign'],
        ['DEL', 'foreign'],
        ['CONFIG', 'GET', '*'],
        ['FLUSHALL'],
        ['KEYS', '*'],
        ['ACL', 'LIST'],
      ] as const)
        await expect(client.call(name, ...args), name).rejects.toThrow('NOPERM');
    } finally {
      client.disconnect();
    }
  });
});

test('a server whose certificate is of another authority is rejected', async () => {
  const env = environment(as('sluice_points', await urlsOf('start', certificates.otherCa)));
  const untrusted = 'its certificate is not from an authority that this process trusts';
  const [start, check] = [await command(['start', 'points'], env), await command(['check', '--json'], env)];
  expect(start).toMatchObject({ code: 2, stderr: expect.stringContaining(untrusted) });
  expect(check.code).toBe(1);
  for (const variable of ['DATABASE_URL', 'AMQP_URL', 'REDIS_URL'])
    expect(check.stdout).toMatch(new RegExp(`${variable}[^{}]*${untrusted}`));
}, 60_000);
