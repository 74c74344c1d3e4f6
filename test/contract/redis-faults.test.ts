// A Redis that responds and cannot hold the queues: rejected at the start if only another configuration can mend it,
// otherwise degraded until the fault is over. test/long/health-of-work.test.ts tests the same in whole processes.
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { openQueues } from '../../infra/queue/index.ts';
import { readKind } from '../../infra/queue/redis-check.ts';
import { failingWork } from '../../infra/runtime/failure-streak.ts';
import { StartupError } from '../../infra/runtime/startup-error.ts';
import { type LocalRedis, startRedis } from '../servers/redis.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { open, openQueue, uuids } from '../setup/queues.ts';
import { eventually, freshPrefix } from '../setup/wait.ts';

describe.skipIf(!inject('servers').redisUrl)('a Redis', () => {
  let redis: LocalRedis;
  let admin: Redis;
  beforeAll(async () => {
    redis = await startRedis();
    admin = new Redis(redis.redisUrl);
  });
  afterAll(async () => {
    admin?.disconnect();
    await redis?.stop();
  });
  beforeEach(() => admin.config('SET', 'maxmemory', '0'));

  const fill = (full: boolean) => admin.config('SET', 'maxmemory', full ? '1' : '0');

  /** The URL of a user with these rules. */
  async function userWith(...rules: string[]): Promise<string> {
    const name = freshPrefix();
    await admin.call('ACL', 'SETUSER', name, 'on', '>secret', ...rules);
    return redis.redisUrl.replace('//', `//${name}:secret@`);
  }

  const rejectionOf = (redisUrl: string) =>
    openQueues({ on: { redisUrl }, prefix: 'shop', log: pino({ level: 'silent' }) }).then(
      async (queues) => {
        await queues.close();
        return 'it was opened';
      },
      (error: Error) => {
        expect(error).toBeInstanceOf(StartupError);
        return error.message;
      },
    );

  test('that is a node of a cluster is rejected', async () => {
    const node = await startRedis({ cluster: true });
    cleanUps.push(() => node.stop());
    expect(await rejectionOf(node.redisUrl)).toMatch(/^REDIS_URL cannot be used: it is a node of a Redis Cluster/);
  });

  test.each([
    ['other keys', ['~other:*', '+@all'], /keys used as arguments\): grant it ~shop:\*/],
    ['no blocking command', ['~*', '+@all', '-bzpopmin'], /'bzpopmin' command/],
    ['no scripts', ['~*', '+@all', '-eval', '-evalsha'], /'eval(sha)?' command/],
    ['no INFO', ['~*', '+@all', '-info'], /'info' command/],
    ['no command that a script runs', ['~*', '+@all', '-xadd'], /may not do what the queues do .*xadd|user executing/],
  ])('whose user has %s is rejected', async (_name, rules, message) => {
    expect(await rejectionOf(await userWith(...rules))).toMatch(message);
  });

  test('that rejects the password is rejected', async () => {
    const url = (await userWith('~*', '+@all')).replace('secret', 'wrong');
    const message = await rejectionOf(url);
    expect(message).toMatch(/rejects the user or the password \(WRONGPASS/);
    expect(message).not.toContain('wrong-');
  });

  test('whose user has the documented rights drains a queue, and keeps nothing of the check', async () => {
    const prefix = freshPrefix();
    const redisUrl = await userWith(`~${prefix}:*`, '+@all', '-@admin', '-@dangerous', '+info');
    const queues = await open({ redisUrl }, prefix);
    expect(await admin.keys(`${prefix}:*`)).toEqual([]);
    const { queue, runs } = await openQueue(queues, { perSecond: 100 });
    const ids = uuids(5);
    await queue.add(ids);
    await eventually(() => ids.every((id) => runs.includes(id)), { what: 'all jobs run' });
    expect([queues.health(), queues.canWork(), queue.isRejected]).toEqual([{ status: 'up' }, true, false]);
  });

  test('that is full when the queues open is degraded, and works once it has room', async () => {
    await fill(true);
    const queues = await open({ redisUrl: redis.redisUrl });
    expect(queues.health()).toEqual({ status: 'degraded', detail: expect.stringContaining('OOM') });
    expect(queues.canWork()).toBe(false);
    const { queue, runs } = await openQueue(queues, { perSecond: 100 });
    await expect(queue.add(uuids(1))).rejects.toThrow('OOM');
    expect(queues.health().status, 'a rejected write does not break the connection').toBe('degraded');
    await fill(false);
    await eventually(() => queues.health().status === 'up', { what: 'it is up' });
    const [id = ''] = uuids(1);
    await queue.add([id]);
    await eventually(() => runs.includes(id), { what: 'the job runs' });
  });

  test('that becomes full is degraded within seconds, and so are its claims', async () => {
    const queues = await open({ redisUrl: redis.redisUrl });
    const { queue, runs } = await openQueue(queues, { perSecond: 2 });
    const ids = uuids(6);
    await queue.add(ids);
    await fill(true);
    await eventually(() => queues.health().status === 'degraded' && queue.isRejected, { what: 'it is degraded' });
    await eventually(() => failingWork().some(({ name }) => name === 'claim jobs'), { what: 'so are the claims' });
    const [claims] = failingWork().filter(({ name }) => name === 'claim jobs');
    expect(claims?.error).toMatch(/^OOM command not allowed/);
    await fill(false);
    await eventually(() => ids.every((id) => runs.includes(id)), { what: 'all jobs run', timeoutMs: 15_000 });
    await eventually(() => queues.health().status === 'up' && failingWork().length === 0, { what: 'it is up' });
  });
});

test.each([
  ['redis_version:6.0.16\r\nredis_mode:standalone', /version 6\.0\.16: the queues need 6\.2/],
  ['redis_version:7.0.15\r\nredis_mode:sentinel', /Sentinel/],
  ['redis_version:7.2.4\r\nredis_mode:cluster', /Cluster/],
  ['redis_version:7.2.4\r\ncluster_enabled:1', /Cluster/],
])('a server that says %s cannot hold the queues', (info, reason) => {
  expect(readKind(info)).toEqual({ reason: expect.stringMatching(reason), isPermanent: true });
});

test.each(['redis_version:6.2.0\r\nredis_mode:standalone', 'redis_version:10.0.1\r\ncluster_enabled:0', 'no version'])(
  'a server that says %s may hold the queues',
  (info) => {
    expect(readKind(info)).toBeUndefined();
  },
);
