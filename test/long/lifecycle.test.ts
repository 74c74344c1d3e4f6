// Starting and stopping: a failed start names its cause, a stop completes every response, a restart loses no data.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { cp, mkdtemp, readdir, rm, stat, symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Agent } from 'undici';
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from 'vitest';
import { createServiceProcess, type ServiceProcess, sluice as startOf } from '../fault/support/service-process.ts';
import { freePort } from '../servers/ports.ts';
import { listProcesses } from '../servers/processes.ts';
import { embedded, type System } from '../service/support/systems.ts';
import { call, completed, freshUser, get, jsonRequest, orderOf, placeOrder, readOrder, tryCall } from '../setup/api.ts';
import { freshDatabase } from '../setup/postgres.ts';
import * as schemas from '../setup/schemas.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const run = promisify(execFile);

let system: System;
let sluice: ServiceProcess;
beforeAll(async () => {
  // The claims of a killed process expire with their leases.
  system = await embedded.start({ LEASE_MS: '1500', PUBLISH_TIMEOUT_MS: '500' });
  sluice = system.processes('order')[0] as ServiceProcess;
});
afterAll(() => system?.remove());

/** Runs `sluice start` with an environment in which it must fail. Resolves with its exit code and error output. */
async function startInVain(env: Readonly<Record<string, string>>, ...services: string[]) {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-vain-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const startedAt = performance.now();
  const failed = await run(process.execPath, startOf(...services), {
    cwd: folder,
    env: { PATH: process.env.PATH, PORT: '0', MQTT_PORT: '0', DATA_DIR: folder, LOG_LEVEL: 'error', ...env },
  }).then(
    () => undefined,
    (error: { code: number; stderr: string }) => error,
  );
  if (!failed) throw new Error('it did start');
  expect(failed.stderr).not.toMatch(/^ +at /m);
  return { code: failed.code, stderr: failed.stderr, ms: performance.now() - startedAt };
}

test('a stop under load completes every accepted request and exits with 0', async () => {
  const { url } = sluice;
  const agent = new Agent({ connections: 16, pipelining: 1 });
  onTestFinished(() => agent.destroy());
  const place = (key: string) =>
    tryCall(`${url}/orders`, { ...jsonRequest(orderOf('ann'), { 'idempotency-key': key }), dispatcher: agent });
  const placed: string[] = [];
  const statuses = new Set<number>();
  /** Places orders until a request gets no response, and returns the key of that request. */
  const client = async () => {
    for (;;) {
      const key = randomUUID();
      const answer = await place(key);
      if (!answer) return key;
      statuses.add(answer.status);
      placed.push(answer.json(schemas.order).id);
    }
  };
  const clients = Array.from({ length: 16 }, client);
  await eventually(() => placed.length > 200, { what: 'the load has started' });

  const stopping = sluice.stop();
  const notReady = await eventually(
    async () => {
      const answer = await call(`${url}/readyz`);
      return answer.status === 503 && answer;
    },
    { what: 'the readiness is 503' },
  );
  expect(notReady.json(schemas.readiness).status).toBe('down');
  expect(await stopping).toEqual({ code: 0, signal: null });
  const unanswered = await Promise.all(clients);
  expect([...statuses]).toEqual([201]);

  await sluice.start();
  // It had not accepted them: connections in the backlog end with the listening socket.
  for (const key of unanswered) expect((await place(key))?.status).toBe(201);
  for (const id of placed.slice(-100)) await completed(url, id);
}, 60_000);

test('after kill -9 and a restart no data is lost and unfinished work is completed', async () => {
  const { url } = sluice;
  const userId = freshUser();
  const { id } = await placeOrder(url, userId);
  const before = await completed(url, id);
  const { balance } = await get(`${url}/users/${userId}/points`, schemas.pointsPage);
  const unfinished = await Promise.all(Array.from({ length: 20 }, () => placeOrder(url, userId)));
  expect(await sluice.kill()).toEqual({ code: null, signal: 'SIGKILL' });

  await sluice.start();
  expect(await readOrder(url, id)).toEqual(before);
  for (const order of unfinished) await completed(url, order.id);
  expect((await get(`${url}/users/${userId}/points`, schemas.pointsPage)).balance).toBe(21 * balance);
}, 60_000);

test('a second start on the same data folder fails and names the folder, and the first one is not affected', async () => {
  const { dataDir } = system;
  const { code, stderr } = await startInVain({ DATA_DIR: String(dataDir) });
  expect(code).toBe(2);
  expect(stderr).toContain(`${dataDir} is in use by another process`);
  expect(stderr).toContain('DATA_DIR');
  await completed(sluice.url, (await placeOrder(sluice.url, freshUser())).id);
});

test('a start with an unusable data folder names the folder and the variable to change', async () => {
  const { code, stderr } = await startInVain({ DATA_DIR: '/dev/null/data' });
  expect(code).toBe(2);
  expect(stderr).toMatch(/^error: \/dev\/null\/data cannot be used for data: ENOTDIR.*DATA_DIR/m);
});

/** The folders of an embedded database in `dataDir`, complete or not. */
const databaseFolders = async (dataDir: string) =>
  (await readdir(dataDir)).filter((name) => name.startsWith('database'));

async function startsNew(args: readonly string[]) {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-initdb-'));
  onTestFinished(() => rm(dataDir, { recursive: true }));
  const process = await createServiceProcess('initdb', args, {
    DATA_DIR: dataDir,
    MQTT_PORT: '0',
    BUS_PREFIX: freshPrefix(),
  });
  onTestFinished(() => process.remove());
  return { dataDir, process };
}

/** Its main file. It runs initdb for a new database. */
async function buildWithoutDatabase(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-build-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const filter = (path: string) => !path.includes('/new-database-');
  await cp(join(root, 'dist'), join(folder, 'dist'), { recursive: true, filter });
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  return join(folder, 'dist/cli/main.js');
}

async function worksOn(dataDir: string, process: ServiceProcess): Promise<void> {
  await process.start();
  expect(await databaseFolders(dataDir)).toEqual(['database']);
  await completed(process.url, (await placeOrder(process.url, freshUser())).id);
}

test('a start leaves no part of a database whose creation is killed, and the next one creates it anew', async () => {
  const { dataDir, process: first } = await startsNew([await buildWithoutDatabase(), 'start']);
  await first.launch();
  const initdb = await eventually(
    async () => {
      const [child] = (await listProcesses()).filter(({ parent }) => first.pids.includes(parent));
      const [unfinished] = await databaseFolders(dataDir);
      return child && unfinished && (await readdir(join(dataDir, unfinished))).length > 0 && child.pid;
    },
    { what: 'the database is being created', timeoutMs: 60_000 },
  );
  process.kill(initdb, 'SIGKILL');
  expect(await first.ended(30_000)).toEqual({ code: 1, signal: null });
  const remedy = 'free memory or disk space, or set DATA_DIR to another folder';
  expect(await first.output()).toContain(
    `error: cannot create the database in ${join(dataDir, 'database')} (initdb was killed by SIGKILL): ${remedy}\n`,
  );
  expect(await databaseFolders(dataDir)).toEqual([]);
  await worksOn(dataDir, first);
}, 180_000);

test('a start that is killed while it unpacks the new database leaves no incomplete one, and the next one starts', async () => {
  const { dataDir, process: first } = await startsNew(startOf());
  await first.launch();
  await eventually(async () => (await databaseFolders(dataDir)).some((name) => name.startsWith('database.new-')), {
    what: 'the database is being unpacked',
    timeoutMs: 60_000,
  });
  await first.kill();
  expect(await databaseFolders(dataDir)).toEqual([expect.stringMatching(/^database\.new-/)]);
  await worksOn(dataDir, first);
  expect((await stat(join(dataDir, 'database'))).mode & 0o077).toBe(0);
}, 180_000);

test('the new database of the build is what initdb creates', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'sluice-initdb-'));
  onTestFinished(() => rm(parent, { recursive: true }));
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const create = async (script: string, folder: string) => {
    await run(process.execPath, [join(root, script), folder]);
    return (await readdir(folder, { recursive: true, withFileTypes: true }))
      .map((entry) => `${join(entry.parentPath, entry.name).slice(folder.length)} ${entry.isDirectory()}`)
      .sort();
  };
  const unpacked = await create('dist/infra/database/initdb.js', join(parent, 'unpacked'));
  expect(unpacked).toEqual(await create('infra/database/initdb.js', join(parent, 'created')));
  expect(unpacked).toContain('/PG_VERSION false');
});

/** PostgreSQL if available, because creating an embedded database takes longer. */
async function anyDatabase(): Promise<{ DATABASE_URL?: string }> {
  const { databaseUrl } = inject('servers');
  if (!databaseUrl) return {};
  const { url, drop } = await freshDatabase(databaseUrl);
  onTestFinished(drop);
  return { DATABASE_URL: url };
}

test.for(['PORT', 'MQTT_PORT'])('a start on a port in use says to change %s', async (variable) => {
  const port = await freePort();
  const squatter = createServer().listen(port, '127.0.0.1');
  onTestFinished(() => void squatter.close());
  const { code, stderr } = await startInVain({ ...(await anyDatabase()), [variable]: String(port) });
  expect(code).toBe(2);
  expect(stderr).toMatch(new RegExp(`${port} on 127\\.0\\.0\\.1 is in use: .*\\b${variable}\\b`));
});

test('a process that is not warm yet answers requests, and is not ready', async () => {
  expect(await sluice.stop()).toEqual({ code: 0, signal: null });
  await sluice.launch({ WARM_UP: 'on' });
  const first = await eventually(() => tryCall(`${sluice.url}/readyz`), { what: 'a response', timeoutMs: 60_000 });
  expect([first.status, first.json(schemas.readiness).status]).toEqual([503, 'down']);
  await eventually(async () => (await call(`${sluice.url}/readyz`)).status === 200, { what: 'the process is warm' });
}, 90_000);

test('a start of some services names the servers that they must share, before any other work', async () => {
  const times: { failed: number; nothing: number }[] = [];
  for (let attempt = 0; attempt < 3; attempt++) {
    const { code, stderr, ms } = await startInVain({}, 'points');
    expect(code).toBe(2);
    expect(stderr).toMatch(/DATABASE_URL is missing: this process runs points, but not order/);
    expect(stderr).toMatch(/MQTT_URL is missing/);
    const startedAt = performance.now();
    await run(process.execPath, [String(startOf()[0]), '--help']);
    times.push({ failed: ms, nothing: performance.now() - startedAt });
  }
  // Compared with the same program that prints its help. The best of three each, because the machine may be busy.
  const fastest = (what: 'failed' | 'nothing') => Math.min(...times.map((each) => each[what]));
  expect(fastest('failed')).toBeLessThan(3 * fastest('nothing'));
});

test('a bad value stops the start and names the allowed ones', async () => {
  const { code, stderr } = await startInVain({ PORT: '99999', LOG_LEVEL: 'loud' });
  expect(code).toBe(2);
  expect(stderr).toContain('PORT=99999 is not allowed: it must be an integer from 0 to 65535');
  expect(stderr).toContain('LOG_LEVEL=loud is not allowed: it must be one of: trace, debug');
});
