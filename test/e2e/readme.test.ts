// Runs the commands of README.md in a clean copy of the repository, against the system that its first commands start. A
// block is tested if `<!-- tested: name -->` stands above it. README.zh-CN.md has the same commands.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { notification } from '../../contracts/users.ts';
import { startGuard } from '../../demos/shared/guard.ts';
import { userTopic } from '../../infra/mqtt/topics.ts';
import { freePort } from '../servers/ports.ts';
import { findPrograms } from '../servers/programs.ts';
import { call, jsonRequest, orderOf } from '../setup/api.ts';
import { eventually } from '../setup/wait.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');

/** The commands of each tested block, by its name. */
async function testedBlocks(file: string): Promise<Map<string, string[]>> {
  const readme = await readFile(join(root, file), 'utf8');
  const blocks = readme.matchAll(/<!-- tested: ([a-z-]+) -->\n```sh\n([\s\S]*?)\n```/g);
  return new Map(Array.from(blocks, ([, name = '', text = '']) => [name, text.split('\n')]));
}

let blocks: Map<string, string[]>;
let copy: string;
let env: NodeJS.ProcessEnv;
let system: ChildProcess;
let output = '';
let endSystem: () => Promise<void>;

beforeAll(async () => {
  blocks = await testedBlocks('README.md');
  copy = await mkdtemp(join(tmpdir(), 'sluice-copy-'));
  const { stdout } = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root });
  for (const file of stdout.split('\0').filter(Boolean)) {
    await mkdir(join(copy, dirname(file)), { recursive: true });
    // Git still lists a deleted file until the deletion is committed.
    await copyFile(join(root, file), join(copy, file)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }

  const port = await freePort();
  const { PATH, HOME } = process.env;
  env = { PATH, HOME, PORT: String(port), MQTT_PORT: String(await freePort()), SLUICE_URL: `http://127.0.0.1:${port}` };
});
afterAll(async () => {
  await endSystem?.();
  await rm(copy, { recursive: true, force: true });
});

/** Runs a line of the README in a shell. */
const type = (line: string) => run('sh', ['-c', line], { cwd: copy, env });
const block = (name: string): string[] => {
  const lines = blocks.get(name);
  if (!lines) throw new Error(`README.md has no block that is tested as ${name}: ${[...blocks.keys()].join(', ')}`);
  return lines;
};

/** Runs a command that starts the system, and resolves when it is ready. In its own process group, as a terminal starts it. */
async function startSystem(command: string): Promise<void> {
  output = '';
  system = spawn('sh', ['-c', command], { cwd: copy, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const group = -Number(system.pid);
  const guard = await startGuard('kill -s KILL -- "$1"', String(group));
  const exited = once(system, 'exit');
  endSystem = async () => {
    await guard.close();
    await exited;
  };
  for (const stream of [system.stdout, system.stderr]) stream?.on('data', (chunk) => (output += String(chunk)));
  await eventually(() => output.includes(`ready on ${env.SLUICE_URL}`), {
    what: 'the system is ready',
    timeoutMs: 90_000,
  });
}

test('README.zh-CN.md has the same commands', async () => {
  expect(await testedBlocks('README.zh-CN.md')).toEqual(blocks);
});

test('npm start runs the whole system and logs its URL', async () => {
  // Installing takes a minute and needs the registry, so the installed modules are linked instead.
  const [install, start = ''] = block('start');
  expect(install).toBe('npm ci');
  await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));

  await startSystem(`exec ${start}`);
  expect((await call(`${env.SLUICE_URL}/readyz`)).status).toBe(200);
}, 120_000);

test('npx sluice order places an order and shows its steps', async () => {
  for (const line of block('order')) {
    const { stdout } = await type(line);
    expect(stdout).toMatch(/^order [0-9a-f-]{36}, 59\.94 GBP for ann: accepted in [\d.]+ ms$/m);
    for (const step of ['points', 'coupon', 'notification'])
      expect(stdout).toMatch(new RegExp(`^ +${step} +done`, 'm'));
    expect(stdout).toMatch(/^completed .* after acceptance$/m);
  }
}, 60_000);

test('npx sluice replay accounts for every line of the sample', async () => {
  for (const line of block('replay')) {
    const { stdout } = await type(line);
    expect(stdout).toMatch(/^lines +7,419 read = [\d,]+ ordered \+ [\d,]+ rejected +holds$/m);
    expect(stdout).toMatch(/^invoices +[\d,]+ read = 337 ordered \+ [\d,]+ rejected +holds$/m);
    expect(stdout).toMatch(/^orders +337 newly placed, 0 already there/m);
    expect(stdout).toMatch(/^completed +337 of 337$/m);
    // A second run places nothing twice.
    const again = await type(line);
    expect(again.stdout).toMatch(/^orders +0 newly placed, 337 already there/m);
  }
}, 120_000);

const isInstalled = await findPrograms('mosquitto_sub').then(
  ({ kind }) => kind === 'installed',
  () => Boolean(process.env.CI),
);

test.skipIf(!isInstalled)(
  "the command of docs/operations.md prints a user's next notification",
  async () => {
    const docs = await readFile(join(root, 'docs/operations.md'), 'utf8');
    const [, command = ''] = /<!-- tested: notifications -->\n```sh\n(.*)\n```/.exec(docs) ?? [];
    expect(command).toContain(userTopic('sluice', 'ann'));
    expect(docs).toContain(userTopic('sluice', 'ann.lee@shop'));
    // mosquitto_sub reads options that its command line lacks from here.
    await mkdir(join(copy, 'config'));
    await writeFile(join(copy, 'config/mosquitto_sub'), `-h 127.0.0.1\n-p ${env.MQTT_PORT}\n`);
    const subscriber = run('sh', ['-c', command], { env: { ...env, XDG_CONFIG_HOME: join(copy, 'config') } });
    let printed: string | undefined;
    const printing = subscriber.then(({ stdout }) => {
      printed = stdout;
    });
    // It may not have subscribed yet when the first order is placed.
    const order = () => call(`${env.SLUICE_URL}/orders`, jsonRequest(orderOf('ann')));
    await eventually(() => order().then(() => printed), { what: 'the notification is printed', timeoutMs: 30_000 });
    await printing;
    const received = notification.parse(JSON.parse(String(printed)));
    const { text } = await call(`${env.SLUICE_URL}/users/ann/notifications`);
    expect((JSON.parse(text) as { items: unknown[] }).items).toContainEqual(received);
  },
  60_000,
);

test('Ctrl-C stops the system cleanly', async () => {
  const exited = once(system, 'exit');
  process.kill(-Number(system.pid), 'SIGINT');
  // npm ends after the system, and reports the interrupt to the shell.
  await exited;
  await expect(call(`${env.SLUICE_URL}/healthz`)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  expect(output).not.toMatch(/\berror\b/i);
}, 60_000);

test('the commands of docs/access.md work with tokens, and fail without them', async () => {
  const documented = await testedBlocks('docs/access.md');
  const [start = ''] = documented.get('server') ?? [];
  await endSystem();
  await startSystem(`exec env ${start}`);
  const { stdout } = await type(documented.get('commands')?.join('\n') ?? '');
  expect(stdout).toMatch(/^order [0-9a-f-]{36}, 59\.97 GBP for ada: accepted/m);
  expect(stdout).toMatch(/^completed .* after acceptance$/m);
  expect(stdout).toContain('no failed messages');
  const buyer = 'SLUICE_TOKEN=$(npx sluice token --user ada)';
  await expect(type(`${buyer} npx sluice failed list`)).rejects.toThrow('The token does not allow this');
  await expect(type('npx sluice order')).rejects.toThrow('This needs a token');
}, 180_000);
