// What a user's environment can do to a start or a command: one sentence and an exit code, never a stack.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { cleanUps } from '../setup/clean-ups.ts';
import { freshDatabase } from '../setup/postgres.ts';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-environment-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a command in the folder until it ends, or until `until` has appeared in its output. */
async function sluice(args: readonly string[], env: Record<string, string> = {}, until?: string): Promise<Ended> {
  const base = { PATH: process.env.PATH ?? '', DATA_DIR: join(folder, 'data'), PORT: '0' };
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: folder, env: { ...base, ...env } });
  cleanUps.push(() => child.kill('SIGKILL'));
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    if (until === undefined || !out.includes(until)) return;
    until = undefined; // a second signal would end it at once
    child.kill('SIGTERM');
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  expect(out + err).not.toContain('s3cret');
  expect(out + err).not.toMatch(/^ {4}at /m);
  return { code, out, err };
}

test.each([
  [
    { HOST: 'no.such.host.invalid', AUTH_MODE: 'none' },
    /^error: cannot listen on HOST=no\.such\.host\.invalid, .*: .*\n$/,
  ],
  [
    { DATA_DIR: '/proc/sluice' },
    /^error: \/proc\/sluice cannot be used for data: .*; set DATA_DIR to another folder\n$/,
  ],
  [
    { DATABASE_URL: 'postgres://me:s3cret@h/d?schema=s' },
    /^error: DATABASE_URL=postgres:\/\/me:\*\*\*@h\/d\?schema=s is .*\n$/,
  ],
])('a start says in a sentence what is wrong with %j, and exits with 2', async (env, message) => {
  const { code, err, out } = await sluice(['start'], env);
  expect([code, out]).toEqual([2, '']);
  expect(err).toMatch(message);
});

test('a folder named .env is named', async () => {
  await mkdir(join(folder, '.env'));
  const message = 'error: .env is a folder: it must be a file with settings, or absent\n';
  expect(await sluice(['start'])).toMatchObject({ code: 2, err: message });
});

test.runIf(process.getuid?.() !== 0)('a read-only data folder is named', async () => {
  await mkdir(join(folder, 'data'));
  await chmod(join(folder, 'data'), 0o500);
  const { code, err } = await sluice(['start']);
  expect([code, err]).toEqual([2, expect.stringMatching(/^error: .*data cannot be used for data: EACCES.*\n$/)]);
});

/** Whether this machine has IPv6; a container often has not. */
const ipv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === '::1'),
);

test('variables of Kubernetes count as unset, IPv6 stands in brackets, and every line of the log is JSON', async () => {
  const { databaseUrl } = inject('servers');
  const database = databaseUrl ? await freshDatabase(databaseUrl) : undefined; // an embedded one takes longer
  if (database) cleanUps.push(database.drop);
  const kubernetes = { MQTT_PORT: 'tcp://10.0.0.7:1883', MQTT_PORT_1883_TCP: 'tcp://10.0.0.7:1883' };
  const env = {
    ...kubernetes,
    ...(database && { DATABASE_URL: database.url }),
    HOST: ipv6 ? '[::1]' : '127.0.0.1',
    LOG_FORMAT: 'json',
  };
  await writeFile(join(folder, '.env'), 'MQTT_PORT=0\n');
  const { code, out } = await sluice(['start'], env, 'ready on');
  expect(code).toBe(0);
  const lines = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { msg: string; url?: string });
  expect(lines.find(({ msg }) => msg === 'MQTT broker embedded')?.url).toMatch(
    ipv6 ? /^mqtt:\/\/\[::1\]:\d+$/ : /^mqtt:/,
  );
  expect(lines.find(({ msg }) => msg.startsWith('ready on'))?.url).toMatch(ipv6 ? /^http:\/\/\[::1\]:\d+$/ : /^http:/);
}, 60_000);

test('a reader that ends early ends the command without a stack', async () => {
  const child = spawn(process.execPath, [MAIN, 'start', '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  expect([code, err]).toEqual([1, '']);
});
