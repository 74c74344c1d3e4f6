import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connect as connectAmqp } from 'amqplib';
import { Client } from 'pg';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { startSluice } from '../../app/start.ts';
import type { Summary } from '../../demos/outage/summary.ts';
import { type Sample, Watch } from '../../demos/outage/watch.ts';
import { HttpClient } from '../../demos/shared/http.ts';
import { placeOrder, readOrder } from '../../demos/shared/orders.ts';
import { readReadiness } from '../setup/api.ts';
import { eventually } from '../setup/wait.ts';

const run = promisify(execFile);
const PROGRAM = 'dist/cli/main.js';
/** Slow machines included: a start with an embedded database, and as long a wait at the end. */
const TIMEOUT_MS = 180_000;

/** The command makes its folders here. */
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const outage = (args: string, env: NodeJS.ProcessEnv = {}) =>
  run(process.execPath, [PROGRAM, 'outage', ...args.split(' ')], {
    env: { PATH: process.env.PATH, TMPDIR: folder, ...env },
  });

/** Holds after every successful outage; the counts come from different places. */
function expectNothingLost({ phases, audit, failures, longestBacklog, seconds }: Summary): void {
  expect(failures).toEqual([]);
  for (const { orders, accepted } of phases) expect(accepted).toBe(orders);
  const accepted = seconds.reduce((sum, { responses }) => sum + (responses['201'] ?? 0), 0);
  expect(accepted).toBeGreaterThan(0);
  const { counts, violations } = audit.report;
  expect(violations).toEqual([]);
  expect(counts.orders.confirmed).toBeGreaterThanOrEqual(accepted);
  expect(counts).toMatchObject({
    points: counts.orders.confirmed,
    coupons: counts.orders.confirmed,
    notifications: counts.orders.confirmed,
    underWay: { orders: 0 },
  });
  expect(longestBacklog).toBeLessThanOrEqual(counts.orders.confirmed);
}

test(
  'accepts and completes all orders although a service of the embedded system is away for a while',
  async () => {
    const svg = join(folder, 'outage.svg');
    const { stdout } = await outage(`--json --rate 20 --before 1 --seconds 4 --svg ${svg}`);
    const summary: Summary = JSON.parse(stdout);
    expectNothingLost(summary);

    const { seconds, goneMs, readyMs, caughtUpAfterMs, longestBacklog } = summary;
    expect(caughtUpAfterMs).not.toBeNull();
    expect(longestBacklog).toBeGreaterThan(40);
    // While it was away, no order was completed, and no other service had a longer backlog.
    const lastAway = seconds.findLast(({ second }) => (second - 1) * 1_000 > goneMs && second * 1_000 < readyMs);
    expect(lastAway).toMatchObject({ completed: 0 });
    expect(lastAway?.waiting.coupon).toBeLessThan(Number(lastAway?.waiting.points));
    expect(seconds.reduce((sum, { completed }) => sum + completed, 0)).toBeGreaterThanOrEqual(longestBacklog);

    expect(await readFile(svg, 'utf8')).toContain('orders waited for points.');
    expect(await readdir(folder)).toEqual(['outage.svg']);
  },
  TIMEOUT_MS,
);

test(
  'a service is stopped and started within a process, and its readiness shows it',
  async () => {
    const env = { DATA_DIR: folder, PORT: '0', MQTT_PORT: '0', LOG_LEVEL: 'error' };
    const sluice = await startSluice({ env });
    const http = new HttpClient(sluice.url);
    const { signal } = new AbortController();
    try {
      const points = async () => (await readReadiness(sluice.url)).consumers.points?.status;
      const place = { userId: 'ann', currency: 'GBP', items: [{ sku: 'MUG', quantity: 1, unitPrice: 1_999 }] };
      expect(await points()).toBe('up');
      await sluice.stopService('points');
      expect(await points()).toBe('down');
      await expect(sluice.stopService('points')).rejects.toThrow('points does not run here');

      const placed = await placeOrder(http, place, { key: 'k', signal });
      if (placed.kind !== 'placed') throw new Error(`not placed: ${JSON.stringify(placed)}`);
      const order = () => readOrder(http, placed.order.id, signal);
      await eventually(
        async () => {
          const { steps } = await order();
          return steps.coupon.status !== 'pending' && steps.notification.status !== 'pending';
        },
        { what: 'the other steps', timeoutMs: 30_000 },
      );
      expect((await order()).steps.points.status).toBe('pending');

      await sluice.startService('points');
      expect(await points()).toBe('up');
      await expect(sluice.startService('points')).rejects.toThrow('points is not stopped here');
      await eventually(async () => (await order()).status === 'completed', { what: 'completion', timeoutMs: 30_000 });
      await expect(sluice.stopService('order')).rejects.toThrow('order has loops of its own');

      // Steps that were recorded before do not count as steps of the watched orders.
      let accepted = 0;
      const watch = new Watch({ url: sluice.url, signal, accepted: () => accepted, onSample: () => {} });
      try {
        await watch.start(0);
        await placeOrder(http, place, { key: 'l', signal });
        accepted = 1;
        const none = { points: 0, coupon: 0, notify: 0 };
        const isIdle = ({ waiting }: Sample) => Object.values(waiting).every((count) => count === 0);
        expect(await watch.poller.until(isIdle, performance.now() + 30_000)).toBe(true);
        expect(watch.samples.at(-1)).toMatchObject({
          waiting: none,
          completed: 1,
        });
      } finally {
        await watch.close();
      }
    } finally {
      await http.close();
      await sluice.stop();
    }
  },
  TIMEOUT_MS,
);

const { databaseUrl, amqpUrl, mosquittoUrl } = inject('servers');

test.skipIf(!databaseUrl || !amqpUrl || !mosquittoUrl)(
  'loses no order when a process is killed and restarted, and leaves nothing on the servers',
  async () => {
    const env = { DATABASE_URL: databaseUrl, AMQP_URL: amqpUrl, MQTT_URL: mosquittoUrl };
    const { stdout, stderr } = await outage('--json --service coupon --kill --rate 20 --before 1 --seconds 3', env);
    const summary: Summary = JSON.parse(stdout);
    expectNothingLost(summary);
    expect(summary.shape).toBe('services in processes of their own, on RabbitMQ and PostgreSQL');
    expect(summary.longestBacklog).toBeGreaterThan(20);
    expect(stderr).not.toContain('not removed');

    const prefix = String(summary.prefix);
    expect(await databasesOf(String(databaseUrl))).not.toContain(prefix.replaceAll('-', '_'));
    const amqp = await connectAmqp(String(amqpUrl));
    const channel = await amqp.createChannel();
    channel.on('error', () => {}); // the rejection below closes it
    await expect(channel.checkQueue(`${prefix}.coupon`)).rejects.toMatchObject({ code: 404 });
    await amqp.close();
    expect(await readdir(folder)).toEqual([]);
  },
  TIMEOUT_MS,
);

/** Those that outages have made. */
async function databasesOf(url: string): Promise<string[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const sql = "SELECT datname FROM pg_database WHERE datname LIKE 'sluice_outage_%' ORDER BY 1";
    const { rows } = await client.query<{ datname: string }>(sql);
    return rows.map(({ datname }) => datname);
  } finally {
    await client.end();
  }
}

/** The processes that this one has started, by what they run. */
async function childrenOf({ pid }: ChildProcess): Promise<{ pid: number; command: string }[]> {
  const { stdout } = await run('ps', ['-A', '-o', 'pid=,ppid=,args=']);
  const processes = [...stdout.matchAll(/^ *(\d+) +(\d+) +(.*)$/gm)];
  return processes
    .filter(([, , parent]) => Number(parent) === pid)
    .map(([, own, , command = '']) => ({ pid: Number(own), command }));
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Starts an outage that nobody waits for the end of. Resolves once orders flow. */
async function startOutage(env: NodeJS.ProcessEnv = {}) {
  const command = spawn(process.execPath, [PROGRAM, 'outage', '--rate', '10', '--before', '60'], {
    env: { PATH: process.env.PATH, TMPDIR: folder, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(command, 'exit');
  let out = '';
  let err = '';
  command.stdout.on('data', (chunk) => (out += String(chunk)));
  command.stderr.on('data', (chunk) => (err += String(chunk)));
  await eventually(() => /× 201/.test(out), { what: 'orders are accepted', timeoutMs: 90_000 });
  const children = await childrenOf(command);
  expect(children.some(({ command }) => command.includes('sluice.child.js'))).toBe(true);
  const ended = async () => {
    const [code] = await exited;
    return { code: code as number | null, err };
  };
  return { command, children, ended };
}

const nothingIsLeft = (children: readonly { readonly pid: number }[]) =>
  eventually(async () => !children.some(({ pid }) => isRunning(pid)) && (await readdir(folder)).length === 0, {
    what: 'the processes and their folder are gone',
    timeoutMs: 30_000,
  });

test.each([
  ['SIGINT', 130],
  ['SIGKILL', null],
] as const)(
  '%s leaves no process and no folder behind',
  async (signal, exitCode) => {
    const { command, children, ended } = await startOutage();
    command.kill(signal);
    expect((await ended()).code).toBe(exitCode);
    await nothingIsLeft(children);
  },
  TIMEOUT_MS,
);

test.skipIf(!databaseUrl || !mosquittoUrl)(
  'Ctrl-C leaves no process and no database behind',
  async () => {
    const before = await databasesOf(String(databaseUrl));
    const { command, children, ended } = await startOutage({ DATABASE_URL: databaseUrl, MQTT_URL: mosquittoUrl });
    expect(await databasesOf(String(databaseUrl))).toHaveLength(before.length + 1);
    expect(children.filter(({ command }) => command.includes('sluice.child.js'))).toHaveLength(4);
    command.kill('SIGINT');
    const { code, err } = await ended();
    expect(code).toBe(130);
    expect(err).not.toContain('not removed');
    await nothingIsLeft(children);
    expect(await databasesOf(String(databaseUrl))).toEqual(before);
  },
  TIMEOUT_MS,
);

test(
  'fails with the reason when a process ends by itself',
  async () => {
    const { children, ended } = await startOutage();
    const child = children.find(({ command }) => command.includes('sluice.child.js'));
    process.kill(Number(child?.pid), 'SIGKILL');
    const { code, err } = await ended();
    expect(code).toBe(1);
    expect(err).toContain('error: the system ended by itself (SIGKILL)');
    await nothingIsLeft(children);
  },
  TIMEOUT_MS,
);

test('names the allowed values and the missing settings', async () => {
  await expect(outage('--service order')).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/Allowed choices are points, coupon, notify/),
  });
  await expect(outage('--kill')).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringMatching(
      /error: --kill needs services in processes of their own: set DATABASE_URL and MQTT_URL\n$/,
    ),
  });
});
