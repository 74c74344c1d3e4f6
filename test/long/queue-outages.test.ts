// Paced queues whose server or worker is killed, frozen or emptied.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { type Postgres, startPostgres } from '../servers/postgres.ts';
import { type LocalRedis, startRedis } from '../servers/redis.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { startProxy } from '../setup/proxy.ts';
import { open, openOnPostgres, openQueue, uuids } from '../setup/queues.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

const { databaseUrl, redisUrl } = inject('servers');

describe.skipIf(!redisUrl)('on Redis', () => {
  test('the jobs of a killed worker run elsewhere', async () => {
    const prefix = freshPrefix();
    const child = startChild('queue.child.ts', String(redisUrl), prefix, 'q');
    const { queue, runs } = await openQueue(await open({ redisUrl: String(redisUrl) }, prefix), { perSecond: 100 });
    const ids = uuids(20);
    const held = linesOf(child);
    // Both processes drain the queue; ids are added until the child has some.
    await eventually(
      async () => {
        if (held.length === 0) await queue.add(ids);
        return held.length > 0 && ids.every((id) => held.includes(id) || runs.includes(id));
      },
      { what: 'the child holds a job and all others have run', timeoutMs: 20_000 },
    );
    const before = runs.length;
    child.kill('SIGKILL');
    await eventually(() => held.every((id) => runs.lastIndexOf(id) >= before), {
      what: 'the jobs that the child held run here',
      timeoutMs: 30_000,
    });
  }, 60_000);

  test('add() fails within about a second while Redis is frozen, and succeeds afterwards', async () => {
    const redis = await privateRedis();
    const { queue, runs } = await openQueue(await open({ redisUrl: redis.redisUrl }));
    const pid = Number(redis.pid);
    process.kill(pid, 'SIGSTOP');
    const from = performance.now();
    await expect(queue.add(uuids(1))).rejects.toThrow();
    expect(performance.now() - from).toBeLessThan(3_000);
    process.kill(pid, 'SIGCONT');
    const [id = ''] = uuids(1);
    await eventually(() => queue.add([id]).then(() => true), { what: 'add() succeeds' });
    await eventually(() => runs.includes(id), { what: 'the job runs' });
  });

  test('a queue that was opened while Redis responded too late works once it responds in time', async () => {
    const proxy = await startProxy(String(redisUrl));
    onTestFinished(() => proxy.close());
    const queues = await open({ redisUrl: `redis://127.0.0.1:${proxy.port}` });
    proxy.delay(1_500);
    const { queue, runs } = await openQueue(queues, { perSecond: 100 });
    await expect(queue.add(uuids(1))).rejects.toThrow();
    proxy.delay(0);
    const [id = ''] = uuids(1);
    await eventually(() => queue.add([id]).then(() => true), { what: 'add() succeeds' });
    await eventually(() => runs.includes(id), { what: 'the job runs' });
  });

  test('a queue fails add() while Redis is killed, and continues on the empty server after a restart', async () => {
    const redis = await privateRedis();
    const queues = await open({ redisUrl: redis.redisUrl });
    const { queue, runs } = await openQueue(queues, { perSecond: 100 });
    const lost = uuids(200);
    await queue.add(lost);
    await eventually(() => runs.length > 20, { what: 'jobs run' });
    await redis.kill();
    await eventually(() => queues.health().status === 'down', { what: 'the outage is noticed' });
    for (let attempt = 0; attempt < 20; attempt++) {
      const from = performance.now();
      await expect(queue.add(uuids(100))).rejects.toThrow();
      expect(performance.now() - from).toBeLessThan(2_000);
    }
    await redis.restart();
    await eventually(() => queues.health().status === 'up', { what: 'the connections are back' });
    const missing = lost.filter((id) => !runs.includes(id));
    expect(missing.length).toBeGreaterThan(0);
    await queue.add(missing);
    await eventually(() => missing.every((id) => runs.includes(id)), { what: 'lost jobs run when added again' });
  });

  test('jobs lost in a flush of Redis run when added again', async () => {
    const redis = await privateRedis();
    const { queue, runs } = await openQueue(await open({ redisUrl: redis.redisUrl }), {
      perSecond: 100,
      work: () => delay(20),
    });
    const ids = uuids(200);
    await queue.add(ids);
    await eventually(() => runs.length > 20, { what: 'jobs run' });
    const client = new Redis(redis.redisUrl);
    await client.flushall();
    client.disconnect();
    const missing = ids.filter((id) => !runs.includes(id));
    expect(missing.length).toBeGreaterThan(0);
    await queue.add(missing);
    await eventually(() => missing.every((id) => runs.includes(id)), { what: 'all have run' });
  });

  test.each(['up', 'away'])(
    'a process that closes its queues exits by itself, with Redis %s',
    async (state) => {
      const redis = await privateRedis();
      const child = startChild('queue-close.child.ts', redis.redisUrl, freshPrefix());
      const lines = linesOf(child);
      await eventually(() => lines.includes('open'), { what: 'the queue is open', timeoutMs: 20_000 });
      if (state === 'away') await redis.kill();
      const exited = once(child, 'exit');
      child.stdin?.end();
      const from = performance.now();
      expect(await exited).toEqual([0, null]);
      expect(performance.now() - from).toBeLessThan(15_000);
    },
    60_000,
  );

  test('a queue that is opened while Redis is away works once Redis is up', async () => {
    const redis = await privateRedis();
    await redis.kill();
    const queues = await open({ redisUrl: redis.redisUrl });
    expect(queues.health().status).toBe('down');
    const { queue, runs } = await openQueue(queues, { perSecond: 100 });
    await expect(queue.add(uuids(1))).rejects.toThrow();
    await redis.restart();
    await eventually(() => queues.health().status === 'up', { what: 'the connections are made' });
    const ids = uuids(20);
    await queue.add(ids);
    await eventually(() => ids.every((id) => runs.includes(id)), { what: 'the jobs run' });
  });
});

describe.skipIf(!databaseUrl)('on PostgreSQL', () => {
  test('a queue continues after a restart of its server', async () => {
    const server: Postgres = await startPostgres();
    cleanUps.push(() => server.stop());
    const queues = await openOnPostgres(server.url);
    const { queue, runs } = await openQueue(queues, { perSecond: 100, work: () => delay(20) });
    const ids = uuids(200);
    await queue.add(ids);
    await eventually(() => runs.length > 20, { what: 'jobs run' });
    await server.kill('SIGQUIT'); // an immediate shutdown, as after a crash
    await eventually(() => queues.health().status === 'down', { what: 'the outage is noticed' });
    await expect(queue.add(uuids(1))).rejects.toThrow();
    await server.restart();
    await eventually(() => queues.health().status === 'up', { what: 'the connection is back' });
    // The last additions and claims before the crash may be lost.
    await queue.clear();
    const missing = ids.filter((id) => !runs.includes(id));
    expect(missing.length).toBeGreaterThan(0);
    await queue.add(missing);
    await eventually(() => missing.every((id) => runs.includes(id)), { what: 'all have run' });
  }, 60_000);
});

async function privateRedis(): Promise<LocalRedis> {
  const redis = await startRedis();
  cleanUps.push(() => redis.stop());
  return redis;
}

function linesOf(child: ChildProcess): string[] {
  const lines: string[] = [];
  if (child.stdout) createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  return lines;
}

function startChild(file: string, ...args: string[]): ChildProcess {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  cleanUps.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  return child;
}
