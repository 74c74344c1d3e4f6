// An operator handles failed messages: a ledger rejects some users; the operator finds and removes the cause and
// retries their messages until their orders are completed, with `sluice failed` and with the HTTP routes that it uses.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test, vi } from 'vitest';
import { run as sluice } from '../../cli/program.ts';
import type { FailedMessage } from '../../contracts/operations.ts';
import type { Order } from '../../contracts/orders.ts';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import { openPglite } from '../../infra/database/pglite.ts';
import { query } from '../fault/support/sql.ts';
import { call, completed, freshUser, get, placeOrder, readOrder } from '../setup/api.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually } from '../setup/wait.ts';
import { embedded, onServers, type Shape, type System } from './support/systems.ts';

const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const servers = inject('servers');

/** Points runs in its own process, so one URL does not list every failed message. */
const apart = onServers(
  'two processes on PostgreSQL',
  servers,
  [serviceNames.filter((name) => name !== 'points'), ['points']],
  { bus: 'local' },
);
const shapes = [embedded, apart].map((shape) => [shape.name, shape] as [string, Shape]);

/** A message is dead after a moment, and no request is resent meanwhile. */
const ATTEMPTS = 2;
const settings = {
  RETRY_ATTEMPTS: String(ATTEMPTS),
  RETRY_BASE_MS: '20',
  RETRY_MAX_MS: '20',
  RESEND_AFTER_MS: '600000',
};

/** Orders that points fails to handle, and orders that coupon fails to handle. */
const LEDGER = 6;
const VOUCHERS = 3;

const reject = (table: string, users: string, message: string) => `
  CREATE FUNCTION ${table}_reject() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.user_id LIKE '${users}-%' THEN RAISE EXCEPTION '${message}'; END IF;
    RETURN NEW;
  END $$;
  CREATE TRIGGER reject BEFORE INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION ${table}_reject();`;
const BREAK =
  reject('sluice_points.entries', 'ledger', 'the ledger is 100%% full') +
  reject('sluice_coupon.decisions', 'voucher', 'no paper for vouchers');
const REPAIR = 'DROP TRIGGER reject ON sluice_points.entries; DROP TRIGGER reject ON sluice_coupon.decisions;';

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

/** Runs the command in this process: starting a process takes a second each time. */
async function sluiceFailed(url: string, ...[command = '', ...args]: string[]): Promise<Ended> {
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((chunk) => {
      written[name] += String(chunk);
      return true;
    }),
  );
  const startedAt = performance.now();
  try {
    const code = await sluice(['failed', command, '--url', url, ...args]);
    return { code, ...written, ms: performance.now() - startedAt };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

interface Listed {
  readonly services: ServiceName[];
  readonly items: (FailedMessage & { readonly service: ServiceName })[];
  readonly more: boolean;
}
interface Retried {
  readonly matching: number;
  readonly retried: number;
  readonly left: number;
}

/** The JSON that a command printed. Fails if its exit code was not `expected`. */
function documentOf<T>({ code, stdout, stderr }: Ended, expected = 0): T {
  expect(code, stderr).toBe(expected);
  return JSON.parse(stdout) as T;
}

describe.for(shapes)('%s', ([, shape]) => {
  const onShape = test.skipIf(!shape.available);
  const whereApart = shape.separate ? onShape : () => {};

  let system: System;
  /** The URL of the points service. */
  let url: string;
  const orders: { ledger: Order[]; vouchers: Order[] } = { ledger: [], vouchers: [] };

  /** Changes the database directly; an embedded one while the services are stopped. */
  async function operate(sql: string): Promise<void> {
    if (system.databaseUrl !== undefined) {
      await query(system.databaseUrl, sql);
      return;
    }
    const [process] = system.processes('order');
    await process?.stop();
    const database = await openPglite({ dataDir: join(String(system.dataDir), 'database') });
    try {
      await database.script(sql);
    } finally {
      await database.close();
    }
    await process?.start();
  }

  const list = (service: ServiceName) => `${system.url(service)}/failed-messages/${service}`;
  const messagesOf = async (service: ServiceName, filter = '') =>
    (await get(`${list(service)}${filter}`, schemas.failedMessagesPage)).items;
  const post = (path: string) => call(`${list('points')}${path}`, { method: 'POST' });
  const preview = async (filter = '') => (await post(`/retry?dryRun=true${filter}`)).json(schemas.retryPreview);
  const allDead = (service: ServiceName, amount: number) =>
    eventually(
      async () => {
        const dead = await messagesOf(service, '?status=dead');
        return dead.length === amount && dead;
      },
      { what: `${amount} messages of ${service} are dead`, timeoutMs: 20_000 },
    );

  beforeAll(async () => {
    if (!shape.available) return;
    system = await shape.start(settings);
    url = system.url('points');
    await operate(BREAK);
    const place = async (users: string) => placeOrder(system.url('order'), `${users}-${freshUser()}`);
    for (let i = 0; i < LEDGER; i++) orders.ledger.push(await place('ledger'));
    for (let i = 0; i < VOUCHERS; i++) orders.vouchers.push(await place('voucher'));
    await allDead('points', LEDGER);
    await allDead('coupon', VOUCHERS);
  });
  afterAll(() => system?.remove());

  onShape('list shows the failed messages with their errors, newest first', async () => {
    const { items, more } = documentOf<Listed>(await sluiceFailed(url, 'list', '--service', 'points', '--json'));
    expect(more).toBe(false);
    expect(items.map(({ subject }) => String(subject)).sort()).toEqual(orders.ledger.map(({ id }) => id).sort());
    expect(items.map(({ receivedAt }) => receivedAt)).toEqual(
      items
        .map(({ receivedAt }) => receivedAt)
        .sort()
        .reverse(),
    );
    for (const item of items)
      expect(item).toMatchObject({
        service: 'points',
        type: 'order.placed',
        status: 'dead',
        attempts: ATTEMPTS,
        error: 'the ledger is 100% full',
      });

    const { code, stdout } = await sluiceFailed(url, 'list', '--service', 'points', '--limit', '2');
    expect(code).toBe(0);
    expect(stdout.match(/^points +dead +2 .* order\.placed .* the ledger is 100% full$/gm)).toHaveLength(2);
    expect(stdout).toMatch(/^the newest 2; there are more: see --limit$/m);
  });

  onShape('a filter selects messages, and matches an error literally', async () => {
    const matching = async (...filter: string[]) => {
      const args = ['retry', '--service', 'points', '--dry-run', '--json', ...filter];
      const { matching } = documentOf<Retried>(await sluiceFailed(url, ...args));
      const listed = await sluiceFailed(url, 'list', '--service', 'points', '--json', ...filter);
      expect(documentOf<Listed>(listed).items).toHaveLength(matching);
      return matching;
    };
    expect(await matching('--error', '100% full')).toBe(LEDGER);
    expect(await matching('--error', 'l_dger')).toBe(0);
    expect(await matching('--error', 'the%full')).toBe(0);
    expect(await matching('--error', "' OR true --")).toBe(0);
    expect(await matching('--type', 'order.placed', '--status', 'dead', '--newer-than', '1h')).toBe(LEDGER);
    expect(await matching('--type', 'order.cancelled')).toBe(0);
    expect(await matching('--status', 'retrying')).toBe(0);
    expect(await matching('--older-than', '1h')).toBe(0);
    expect(await matching('--newer-than', '0s')).toBe(0);
  });

  onShape('show prints the payload as it arrived', async () => {
    const [message] = await messagesOf('points');
    const { code, stdout } = await sluiceFailed(url, 'show', 'points', String(message?.id));
    expect(code).toBe(0);
    expect(stdout).toContain(`points ${message?.id}: dead after ${ATTEMPTS} attempts\n`);
    expect(stdout).toMatch(/^ +error +the ledger is 100% full$/m);
    expect(stdout).toContain(`"orderId": "${message?.subject}"`);
    const shown = documentOf(await sluiceFailed(url, 'show', 'points', String(message?.id), '--json'));
    expect(shown).toEqual({ service: 'points', ...message, correctedPayload: null });
    expect(JSON.parse(message?.payload ?? '')).toMatchObject({ id: message?.id, subject: message?.subject });
  });

  onShape('reports an unknown message, and retries none without a filter, an id or --all', async () => {
    const before = await preview();
    const none = '019a0000-0000-7000-8000-000000000000';
    for (const command of ['show', 'retry']) {
      const { code, stderr } = await sluiceFailed(url, command, 'points', none);
      expect([code, stderr]).toEqual([1, `error: points ${none}: 404 There is no such failed message\n`]);
    }
    expect(await sluiceFailed(url, 'retry')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error: nothing was retried: .*--all/),
    });
    expect((await sluiceFailed(url, 'retry', '--service', 'points', '--dry-run')).stdout).toBe(
      `  points  ${LEDGER} would be retried\n${LEDGER} would be retried\n`,
    );
    // None was retried since the first preview.
    expect((await preview(`&failedBefore=${before.asOf}`)).matching).toBe(LEDGER);
    expect((await messagesOf('points', '?status=dead')).length).toBe(LEDGER);
  });

  onShape('the HTTP routes reject an invalid filter', async () => {
    for (const [filter, field] of [
      ['limit=0', 'limit'],
      ['limit=1001', 'limit'],
      ['dryRun=yes', 'dryRun'],
      ['olderThanSeconds=-1', 'olderThanSeconds'],
      ['newerThanSeconds=315360001', 'newerThanSeconds'],
      ['error=', 'error'],
      ['error=%00', 'error'],
      ['failedBefore=yesterday', 'failedBefore'],
      ['asOf=tomorrow', 'asOf'],
      ['run=1', 'run'],
      ['group=1', 'group'],
      ['status=discarded', 'status'],
      ['failedBefore=0000-01-01T00:00:00.000000Z', 'failedBefore'],
      ['older=1h', 'older'],
    ]) {
      const answer = await post(`/retry?${filter}`);
      expect(answer.status, filter).toBe(422);
      expect(answer.json(schemas.problem).errors, filter).toMatchObject([{ path: field }]);
    }
    expect((await call(`${list('points')}?olderThanSeconds=x`)).status).toBe(422);
    for (const id of ['none', '019a0000-0000-7000-8000-000000000000'])
      expect((await call(`${list('points')}/${id}`)).status).toBe(404);
  });

  onShape('a run retries each message once, and at most --rate messages a second', async () => {
    const { asOf } = await preview();
    // Within a second, all messages of the second before are dead again.
    const run = await sluiceFailed(url, 'retry', '--service', 'points', '--rate', '2', '--json');
    const failedAgain = { matching: LEDGER, retried: LEDGER, left: 0, succeeded: 0, failed: LEDGER, takenOver: 0 };
    expect(documentOf<Retried>(run, 1)).toMatchObject(failedAgain);
    expect(run.stderr).toBe(`error: ${LEDGER} messages failed again: see \`sluice failed groups\`\n`);
    expect(run.ms).toBeGreaterThan((LEDGER / 2 - 1) * 1_000);
    await allDead('points', LEDGER);
    for (const { attempts } of await messagesOf('points')) expect(attempts).toBe(ATTEMPTS);
    // Each message was retried.
    expect((await preview(`&failedBefore=${asOf}`)).matching).toBe(0);
  });

  onShape('a retry says that a message failed again, unless it does not wait', async () => {
    const [message] = await messagesOf('points');
    const id = String(message?.id);
    expect(await sluiceFailed(url, 'retry', 'points', id)).toMatchObject({
      code: 1,
      stdout: `points ${id}: retried, and failed again\n`,
      stderr: `error: points ${id} failed again: the ledger is 100% full\n`,
    });
    const notWaited = await sluiceFailed(url, 'retry', '--service', 'points', '--no-wait');
    expect([notWaited.code, notWaited.stdout]).toEqual([
      0,
      `  points  ${LEDGER} retried, 0 left\n${LEDGER} retried, 0 left\n`,
    ]);
    await allDead('points', LEDGER);
  });

  onShape('Ctrl-C ends a run between two requests, and prints how many messages are left', async () => {
    const { asOf } = await preview();
    const notRetried = async () => (await preview(`&failedBefore=${asOf}`)).matching;
    const args = [program, 'failed', 'retry', '--service', 'points', '--rate', '1', '--json'];
    const run = spawn(process.execPath, args, {
      env: { PATH: process.env.PATH ?? '', SLUICE_URL: url },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    onTestFinished(() => void run.kill('SIGKILL'));
    const ended = once(run, 'close');
    let stdout = '';
    let stderr = '';
    run.stdout.on('data', (chunk) => (stdout += String(chunk)));
    run.stderr.on('data', (chunk) => (stderr += String(chunk)));
    await eventually(async () => (await notRetried()) < LEDGER, { what: 'the run has begun', timeoutMs: 30_000 });
    run.kill('SIGINT');
    expect(await ended).toEqual([130, null]);
    expect(stderr).toBe('interrupted\n');
    const { retried, left } = JSON.parse(stdout) as Retried;
    expect(retried).toBeGreaterThan(0);
    expect(left).toBeGreaterThan(0);
    expect(retried + left).toBe(LEDGER);
    expect(await notRetried()).toBe(left);
    await allDead('points', LEDGER);
  });

  whereApart('names services that run in other processes in one line, and fails if --service names one', async () => {
    const orderUrl = system.url('order');
    const listed = await sluiceFailed(orderUrl, 'list', '--json');
    expect(documentOf<Listed>(listed).items.map(({ service }) => service)).toEqual(Array(VOUCHERS).fill('coupon'));
    expect(listed.stderr).toBe(`${orderUrl} does not run points: use the --url of the process that does\n`);
    for (const args of [['list'], ['retry', '--dry-run'], ['retry']]) {
      const { code, stderr } = await sluiceFailed(orderUrl, ...args, '--service', 'coupon', 'points');
      expect([code, stderr]).toEqual([
        1,
        `error: ${orderUrl} does not run points: use the --url of the process that does\n`,
      ]);
    }
    const { code, stderr } = await sluiceFailed(orderUrl, 'show', 'points', String(orders.ledger[0]?.id));
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^error: points .*: 404 There is no such service/)]);
  });

  whereApart('a locked message is skipped', async () => {
    const client = new Client({ connectionString: system.databaseUrl });
    await client.connect();
    onTestFinished(() => client.end());
    await client.query('BEGIN');
    const { rows } = await client.query<{ message_id: string }>(
      `SELECT message_id FROM sluice_points.inbox WHERE status = 'dead' ORDER BY received_at LIMIT 1 FOR UPDATE`,
    );
    expect(rows).toHaveLength(1);
    const answer = await post(`/retry?limit=${LEDGER}`);
    expect([answer.status, answer.json(schemas.retryResult)]).toEqual([
      202,
      { retried: LEDGER - 1, left: 1, truncated: 0 },
    ]);
    // A call without a limit retries the message once it is unlocked.
    await allDead('points', LEDGER);
    const { asOf } = await preview();
    const retryAll = post('/retry');
    await eventually(async () => (await preview(`&failedBefore=${asOf}`)).matching === 1, {
      what: 'the locked message is skipped',
    });
    await client.query('ROLLBACK');
    const all = await retryAll;
    expect([all.status, all.json(schemas.retryResult)]).toEqual([202, { retried: LEDGER, left: 0, truncated: 0 }]);
    await allDead('points', LEDGER);
  });

  // From here on, the cause of the failures is removed.
  onShape(
    'a retry completes the orders once the cause is removed, the oldest message first',
    async () => {
      // Two were received long ago; they become the oldest.
      const aged = (await messagesOf('points')).slice(0, 2);
      const ids = aged.map(({ id }) => `'${id}'`).join();
      await operate(
        `${REPAIR} UPDATE sluice_points.inbox SET received_at = received_at - interval '2 hours' WHERE message_id IN (${ids})`,
      );
      for (const { status, steps } of await Promise.all(
        orders.ledger.map(({ id }) => readOrder(system.url('order'), id)),
      ))
        expect([status, steps.points]).toEqual([
          'placed',
          {
            status: 'failed',
            at: expect.stringMatching(/Z$/),
            // Not the error, which only operators see.
            detail: 'the step failed; an operator can retry it',
          },
        ]);

      const older = await sluiceFailed(
        url,
        'retry',
        '--older-than',
        '1h',
        '--service',
        'points',
        '--dry-run',
        '--json',
      );
      expect(documentOf<Retried>(older).matching).toBe(2);
      const answer = await post('/retry?limit=2');
      expect([answer.status, answer.json(schemas.retryResult)]).toEqual([
        202,
        { retried: 2, left: LEDGER - 2, truncated: 0 },
      ]);
      await Promise.all(aged.map(({ subject }) => completed(system.url('order'), String(subject))));
      expect(await messagesOf('points')).toHaveLength(LEDGER - 2);

      const run = await sluiceFailed(url, 'retry', '--error', 'ledger is', '--newer-than', '1h');
      const line = `${LEDGER - 2} retried: ${LEDGER - 2} succeeded, 0 failed again, 0 left`;
      expect([run.code, run.stdout]).toEqual([0, `  points  ${line}\n${line}\n`]);
      for (const { id, userId } of orders.ledger) {
        await completed(system.url('order'), id);
        const { balance, items } = await get(`${url}/users/${userId}/points`, schemas.pointsPage);
        expect([balance, items.length]).toEqual([59, 1]);
      }
      expect(await messagesOf('points')).toEqual([]);
      const again = await sluiceFailed(url, 'retry', '--service', 'points');
      expect([again.code, again.stdout]).toEqual([0, 'no failed message matches\n']);
    },
    60_000,
  ); // restarts an embedded system

  onShape('groups, discards and corrects messages, and lists what was decided', async () => {
    const couponUrl = system.url('coupon');
    const groups = await sluiceFailed(couponUrl, 'groups', '--service', 'coupon');
    expect(groups.stdout).toMatch(
      new RegExp(`^coupon +${VOUCHERS} +0 .* order\\.placed +[0-9a-f-]{36} +no paper for vouchers$`, 'm'),
    );
    const [message] = await messagesOf('coupon');
    const [id, order] = [String(message?.id), String(message?.subject)];
    const discard = await sluiceFailed(couponUrl, 'discard', 'coupon', id, '--reason', 'no paper, no voucher');
    expect([discard.code, discard.stdout]).toEqual([0, `coupon ${id}: discarded\n`]);
    expect(await messagesOf('coupon')).toHaveLength(VOUCHERS - 1);
    const discarded = await sluiceFailed(couponUrl, 'list', '--status', 'discarded');
    expect(discarded.stdout).toMatch(new RegExp(`^coupon +discarded .* ${id} `, 'm'));
    expect((await readOrder(system.url('order'), order)).steps.coupon.status).toBe('failed');
    expect((await call(`${system.url('coupon')}/readyz`)).status).toBe(200);

    const { data } = JSON.parse(String(message?.payload)) as { data: Readonly<Record<string, unknown>> };
    const folder = await mkdtemp(join(tmpdir(), 'sluice-corrected-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = join(folder, 'data.json');
    await writeFile(file, JSON.stringify({ ...data, userId: 'another' }));
    const rejected = await sluiceFailed(couponUrl, 'retry', 'coupon', id, '--data', file);
    expect([rejected.code, rejected.stderr]).toEqual([
      1,
      expect.stringMatching(/: 422 .*data\.userId must be as in the original\n$/),
    ]);
    await writeFile(file, JSON.stringify({ ...data, total: 10_000 }));
    const unchecked = await sluiceFailed(couponUrl, 'retry', 'coupon', id, '--data', file, '--dry-run');
    expect([unchecked.code, unchecked.stderr]).toEqual([2, expect.stringMatching(/--dry-run cannot be .* --data/)]);
    const corrected = await sluiceFailed(couponUrl, 'retry', 'coupon', id, '--data', file);
    expect([corrected.code, corrected.stdout]).toEqual([0, `coupon ${id}: retried, and succeeded\n`]);
    await completed(system.url('order'), order);
    const done = await sluiceFailed(couponUrl, 'retry', 'coupon', id, '--dry-run');
    expect([done.code, done.stderr]).toEqual([1, `error: coupon ${id} cannot be retried: it is done\n`]);
    const coupons = await get(`${couponUrl}/users/${String(data.userId)}/coupons`, schemas.couponsPage);
    expect(coupons.items).toMatchObject([{ amount: 500 }]);

    const shown = await sluiceFailed(couponUrl, 'show', 'coupon', id);
    expect(shown.stdout).toMatch(/: done after 1 attempt$/m);
    expect(shown.stdout).toContain(`"total": ${String(data.total)},`);
    expect(shown.stdout).toContain('corrected payload, which is handled instead:');
    expect(shown.stdout).toContain('"total": 10000,');
    const actions = await sluiceFailed(couponUrl, 'actions', '--service', 'coupon');
    expect(actions.stdout).toMatch(
      new RegExp(
        `local +127\\.0\\.0\\.1 +failed-message\\.correct +coupon +${id} +discarded → retrying.*\\n` +
          `.* failed-message\\.discard +coupon +${id} +dead → discarded +{"reason":"no paper, no voucher"}`,
      ),
    );
  });

  onShape('retries one message by its id', async () => {
    const [first, second] = await messagesOf('coupon');
    const couponUrl = system.url('coupon');
    const dry = await sluiceFailed(couponUrl, 'retry', 'coupon', String(first?.id), '--dry-run');
    expect([dry.code, dry.stdout]).toEqual([0, `coupon ${first?.id}: would be retried\n`]);
    expect(await messagesOf('coupon')).toHaveLength(2);
    const { code, stdout } = await sluiceFailed(couponUrl, 'retry', 'coupon', String(first?.id));
    expect([code, stdout]).toEqual([0, `coupon ${first?.id}: retried, and succeeded\n`]);
    await completed(system.url('order'), String(first?.subject));
    expect((await messagesOf('coupon')).map(({ id }) => id)).toEqual([second?.id]);

    const all = await sluiceFailed(couponUrl, 'retry', '--all', '--json');
    expect(documentOf<Retried>(all)).toMatchObject({ matching: 1, retried: 1, left: 0 });
    await completed(system.url('order'), String(second?.subject));
    expect((await sluiceFailed(couponUrl, 'list')).stdout).toBe('no failed messages\n');
  });
});
