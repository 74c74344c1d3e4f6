// No output of any command shows a password, and every error that a user can cause is one without a stack.
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, test, vi } from 'vitest';
import { loadEnvFile } from '../../cli/env-file.ts';
import { run } from '../../cli/program.ts';
import { cleanUps } from '../setup/clean-ups.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-passwords-'));
afterAll(() => rmSync(folder, { recursive: true }));
const csv = join(folder, 'x.csv');
writeFileSync(csv, 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n');

/** A token is a password, too. */
const TOKEN = `eyJhbGciOiJIUzI1NiJ9.${Buffer.from('{"sub":"ann"}').toString('base64url')}.c2lnbmF0dXJl`;

let out = '';
let err = '';
beforeEach(() => {
  vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    out += String(chunk);
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
    err += String(chunk);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

async function sluice(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  out = '';
  err = '';
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  const code = await run(args);
  const ended = { code, out, err };
  for (const secret of ['s3cret', 't0ken', TOKEN, Buffer.from('ann:s3cret').toString('base64')])
    expect(out + err).not.toContain(secret);
  expect(out + err).not.toMatch(/^ {4}at /m);
  return ended;
}

/** Every command with an option that takes a URL. */
const commands: [string[]][] = [
  [['order']],
  [['audit']],
  [['replay', csv]],
  [['flash-sale']],
  [['failed', 'list']],
  [['failed', 'show', 'points', '019a2b3c-4d5e-7f60-8123-456789abcdef']],
  [['failed', 'retry', '--all']],
];

test.each(commands)('%j takes no password in its arguments, and names SLUICE_URL', async (args) => {
  const { code, err, out } = await sluice([...args, '--url', 'http://ann:s3cret@127.0.0.1:1']);
  expect([code, out]).toEqual([2, '']);
  expect(err).toMatch(/must not contain a user or password: set SLUICE_URL/);
});

test.each([
  [['audit', '--at', 'points=http://ann:s3cret@h']],
  [['http://ann:s3cret@h']],
  [['order', 'http://ann:s3cret@h']],
  [['order', '--ulr=http://ann:s3cret@h']],
  [['start', 'http://ann:s3cret@h']],
  [['order', '--url', 'http://t0ken@h']],
  [['order', '--url', "http://ann:s3cret 'x@h"]],
  [['order', '--url', 'http://ann:s3cret@h:port']],
  [['logs', '--mqtt-url', 'mqtt://ann:s3cret@h?clientId=x']],
  [['replay', 'http://ann:s3cret@h/x.csv']],
  [['payment-provider', '--host', 'http://ann:s3cret@h']],
  [['flash-sale', '--report', 'http://ann:s3cret@h/x.html']],
  [['outage', '--svg', 'http://ann:s3cret@h/x.svg']],
  [['order', '--token', `Bearer ${TOKEN}`]],
])('no error shows a password: %j', async (args) => {
  expect((await sluice(args)).code).not.toBe(0);
});

test.each(commands)('%j shows no password from SLUICE_URL in its error', async (args) => {
  for (const url of ['http://ann:s3cret@127.0.0.1:1', 'http://ann:s3cret@127.0.0.1:x', 'ftp://ann:s3cret@h'])
    expect((await sluice(args, { SLUICE_URL: url })).code).not.toBe(0);
});

test.each([
  [['logs'], { MQTT_URL: 'mqtt://ann:s3cret@127.0.0.1:1' }],
  [['logs'], { MQTT_URL: 'mqtt://ann:s3cret@127.0.0.1:x' }],
  [['outage'], { MQTT_URL: 'mqtt://ann:s3cret@h', DATABASE_URL: 'postgres://ann:s3cret@127.0.0.1:1/d' }],
  [
    ['outage'],
    { MQTT_URL: 'mqtt://ann:s3cret@h?password=t0ken', DATABASE_URL: 'postgres://ann:s3cret@h/d?api_token=t0ken' },
  ],
])('no error shows a password from the environment: %j %j', async (args, env) => {
  expect((await sluice(args, env)).code).not.toBe(0);
});

test('the user and password in SLUICE_URL are sent to that server', async () => {
  const seen: (string | undefined)[] = [];
  const proxy = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(401).end();
  }).listen(0, '127.0.0.1');
  cleanUps.push(() => proxy.close());
  await once(proxy, 'listening');
  const { port } = proxy.address() as AddressInfo;
  const url = `http://ann:${encodeURIComponent('s3cret:@/%#?ü')}@127.0.0.1:${port}/shop`;
  for (const args of [['order'], ['failed', 'list'], ['audit', '--settle', '1ms']])
    expect((await sluice(args, { SLUICE_URL: url })).code).toBe(1);
  const expected = `Basic ${Buffer.from('ann:s3cret:@/%#?ü').toString('base64')}`;
  expect(new Set(seen)).toEqual(new Set([expected]));
});

test.each([
  [{ DATA_DIR: '/dev/null' }, /^error: \/dev\/null cannot be used for data: .*\n$/],
  [{ MQTT_URL: 'mqtt://h:1884?clientId=x' }, /the parameter clientId is not known; known parameters are cacertfile,/],
  [{ REDIS_URL: 'redis://h:6390?keyPrefix=a:' }, /the parameter keyPrefix is not known; known parameters are family,/],
  [
    { AMQP_URL: 'amqp://me:s3cret/t0ken@h' },
    /^error: AMQP_URL=amqp:\/\/me:\*\*\*@h is not allowed: .*an @ after its host/,
  ],
  [{ PAYMENT_URL: 'http://me:s3cret@h' }, /^error: PAYMENT_URL=http:\/\/\*\*\*@h is .* without a user or password\n$/],
])('a start says in a sentence what is wrong with %j, and exits with 2', async (env, message) => {
  expect(await sluice(['start'], env)).toEqual({ code: 2, out: '', err: expect.stringMatching(message) });
});

const bytes = (text: string, encoding: BufferEncoding) => Buffer.from(text, encoding);
const file = join(folder, '.env');

test('a file .env may begin with a byte order mark, and does not change variables that are set', () => {
  writeFileSync(file, bytes('\ufeffONE=größe\nTWO=2\nMQTT_PORT=7\n', 'utf8'));
  const env = { TWO: 'set', MQTT_PORT: 'tcp://10.0.0.7:1883' };
  loadEnvFile(file, env);
  expect(env).toEqual({ ONE: 'größe', TWO: 'set', MQTT_PORT: '7' });
  loadEnvFile(join(folder, 'none'), env);
});

test.each([
  ['UTF-16', bytes('\ufeffONE=1\n', 'utf16le')],
  ['UTF-16 without a mark', bytes('ONE=1\n', 'utf16le')],
  ['Windows-1252', bytes('ONE=größe\n', 'latin1')],
])('a file .env in %s is rejected', (_, content) => {
  writeFileSync(file, content);
  expect(() => loadEnvFile(file, {})).toThrow(/\.env is not UTF-8 text: save it with the encoding UTF-8$/);
});
