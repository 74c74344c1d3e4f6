// Whether a Redis can hold the queues. One that responds may still be unable to: it is a node of a cluster, its user
// may not run BullMQ's commands, it is full, or it is a replica.
import { randomUUID } from 'node:crypto';
import { Job, UnrecoverableError } from 'bullmq';
import type { Redis } from 'ioredis';
import { within } from '../runtime/promises.ts';
import { type Connections, obliterate, type WorkerSettings } from './backend.ts';

/** For each of the checks, whose commands take milliseconds. */
const CHECK_MS = 3_000;
const LOCK_MS = 10_000;
/** The oldest version that the queues are tested with. */
const MIN_VERSION = [6, 2] as const;

/** Redis answered a command with an error. Any other error is the connection's. */
export const isReply = (error: unknown): error is Error => error instanceof Error && error.name === 'ReplyError';

/** Redis responds, and cannot hold the queues. */
export interface RedisFault {
  /** One sentence, which names the cause and for some causes the remedy. */
  readonly reason: string;
  /** Only another configuration can mend it. */
  readonly isPermanent: boolean;
}

export interface RedisCheckOptions {
  readonly redis: Redis;
  /** Of every key. */
  readonly prefix: string;
  /** Of a queue that no other process knows. */
  readonly name: string;
  readonly open: (name: string, settings: WorkerSettings) => Connections;
}

/**
 * Reads what kind of server it is, and runs one job through a queue of its own, with the commands that the queues use.
 * Resolves with undefined if that works; rejects if the connection fails.
 */
export const tryQueue = (options: RedisCheckOptions): Promise<RedisFault | undefined> =>
  faultOf(options.prefix, async () => readKind(await options.redis.info()) ?? (await runJob(options)));

/** Writes and deletes one key, which a full Redis, a replica, or one that cannot save its data rejects. */
export const tryWrite = ({ redis, prefix }: RedisCheckOptions): Promise<RedisFault | undefined> =>
  faultOf(prefix, async () => {
    const key = `${prefix}:check`;
    await redis.set(key, '', 'PX', CHECK_MS);
    await redis.del(key);
    return undefined;
  });

async function faultOf(prefix: string, check: () => Promise<RedisFault | undefined>): Promise<RedisFault | undefined> {
  try {
    return await within(CHECK_MS, check());
  } catch (error) {
    if (isReply(error)) return faultOfReply(error.message, prefix);
    throw error;
  }
}

export const infoField = (info: string, name: string): string | undefined =>
  new RegExp(`^${name}:(.*)$`, 'm').exec(info)?.[1]?.trim();

/** `info`: the response to INFO, https://redis.io/docs/latest/commands/info/ */
export function readKind(info: string): RedisFault | undefined {
  const field = (name: string) => infoField(info, name);
  if (field('redis_mode') === 'sentinel') {
    const reason = 'it is a Sentinel, which holds no data: name the server that it watches';
    return { reason, isPermanent: true };
  }
  if (field('redis_mode') === 'cluster' || field('cluster_enabled') === '1') return { ...CLUSTER };
  const version = field('redis_version');
  const [major = Number.NaN, minor = 0] = version?.split('.').map(Number) ?? [];
  const [minMajor, minMinor] = MIN_VERSION;
  if (major < minMajor || (major === minMajor && minor < minMinor))
    return { reason: `it is version ${version}: the queues need ${MIN_VERSION.join('.')} or newer`, isPermanent: true };
  return undefined;
}

const CLUSTER: RedisFault = {
  reason:
    'it is a node of a Redis Cluster, which the queues do not support: set REDIS_URL to a server that is not part of a cluster',
  isPermanent: true,
};

export function faultOfReply(reply: string, prefix: string): RedisFault {
  const message = reply.replace(/\.? script: .*/s, ''); // where in BullMQ's script it failed
  if (/^(MOVED|ASK|CROSSSLOT|CLUSTERDOWN)\b/.test(message)) return CLUSTER;
  if (/^NOPERM\b|user executing the script can't/.test(message)) {
    const remedy = `grant it ~${prefix}:* +@all -@admin -@dangerous +info, or set BUS_PREFIX to the prefix of the keys that this user may access`;
    return { reason: `its user may not do what the queues do (${message}): ${remedy}`, isPermanent: true };
  }
  if (/^(NOAUTH|WRONGPASS)\b/.test(message) || /invalid password|without any password/.test(message))
    return { reason: `it rejects the user or the password (${message})`, isPermanent: true };
  if (/unknown command/i.test(message))
    return { reason: `it lacks a command that the queues need (${message})`, isPermanent: true };
  return { reason: `it rejects what the queues write: ${message}`, isPermanent: false };
}

/** The commands of a job's life. */
async function runJob({ name, open, redis }: RedisCheckOptions): Promise<undefined> {
  const { queue, worker, sever } = open(name, { lockDuration: LOCK_MS });
  const ignore = () => undefined; // the calls reject with the same error
  queue.on('error', ignore);
  worker.on('error', ignore);
  const backend = worker.getBackend();
  const token = randomUUID();
  const remove = async () => {
    await obliterate(queue);
    await redis.del(queue.toKey('limiter'), queue.toKey('stalled-check'));
  };
  try {
    await queue.addBulk([{ name, data: {}, opts: { jobId: 'check', attempts: 1, removeOnFail: true } }]);
    const [data, id] = await backend.moveToActive(token);
    if (data && id) {
      await worker.extendJobLocks([id], [token], LOCK_MS);
      await Job.fromJSON(worker, data, id).moveToFailed(new UnrecoverableError('only a check'), token, false);
    }
    await backend.moveStalledJobsToWait();
    await backend.waitForJob(backend.minimumBlockTimeout);
  } catch (error) {
    await remove().catch(() => undefined);
    throw error;
  } finally {
    sever();
  }
  await remove();
  return undefined;
}
