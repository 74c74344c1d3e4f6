// The cap in Redis: as a check before the work, and as a counter.
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { using } from '../using.ts';
import type { Sale, Strategy } from './strategy.ts';

const queueOf = (url: string, { id }: Sale) => new Queue(id, { connection: { url }, skipMetasUpdate: true });

async function count(queue: Queue): Promise<{ queued: number; sold: number }> {
  const { waiting = 0, active = 0, completed = 0 } = await queue.getJobCounts('waiting', 'active', 'completed');
  return { queued: waiting + active, sold: waiting + active + completed };
}

/** Counts the queue's jobs, and adds one if there is room. BullMQ on Redis. */
export const checkThenAdd: Strategy = {
  async open() {},

  async connect(url, sale) {
    const queue = queueOf(url, sale);
    await queue.waitUntilReady();
    return {
      async decide(buyer) {
        const { queued, sold } = await count(queue);
        if (queued >= sale.cap || sold >= sale.stock) return false;
        await queue.add('purchase', { buyer }, { jobId: buyer });
        return true;
      },
      close: () => queue.close(),
    };
  },

  queued: (url, sale) =>
    using(
      queueOf(url, sale),
      (queue) => queue.close(),
      async (queue) => (await count(queue)).queued,
    ),
};

/**
 * Returns 1 and counts the buyer, or returns 0. KEYS[1] buyers in the queue, KEYS[2] units sold, both from 0. ARGV[1]
 * cap, ARGV[2] stock.
 */
const COUNT_IF_ROOM = `
local queued = tonumber(redis.call('GET', KEYS[1]) or '0')
local sold = tonumber(redis.call('GET', KEYS[2]) or '0')
if queued >= tonumber(ARGV[1]) or sold >= tonumber(ARGV[2]) then return 0 end
redis.call('INCR', KEYS[1])
redis.call('INCR', KEYS[2])
return 1
`;

const keysOf = ({ id }: Sale) => ({ queued: `{${id}}:queued`, sold: `{${id}}:sold`, work: `{${id}}:work` });

export const withRedis = <T>(url: string, work: (redis: Redis) => Promise<T>): Promise<T> =>
  using(new Redis(url), (redis) => redis.disconnect(), work);

/**
 * One script compares and counts atomically. The work begins afterwards, with a push to a list; when it is done, the
 * counter is decremented.
 */
export const redisCounter: Strategy = {
  async open() {},

  async connect(url, sale) {
    const redis = new Redis(url);
    const { queued, sold, work } = keysOf(sale);
    await redis.ping();
    return {
      decide: async () => (await redis.eval(COUNT_IF_ROOM, 2, queued, sold, sale.cap, sale.stock)) === 1,
      begin: async (buyer) => {
        await redis.rpush(work, buyer);
      },
      close: async () => redis.disconnect(),
    };
  },

  queued: (url, sale) => withRedis(url, (redis) => redis.llen(keysOf(sale).work)),
};

/** The counter's value, right or wrong. */
export const counted = (url: string, sale: Sale): Promise<number> =>
  withRedis(url, async (redis) => Number(await redis.get(keysOf(sale).queued)));

/** Does all the work that was begun and decrements the counter; resolves with the number of jobs. */
export const completeWork = (url: string, sale: Sale): Promise<number> =>
  withRedis(url, async (redis) => {
    const { queued, work } = keysOf(sale);
    const done = await redis.llen(work);
    await redis.del(work);
    await redis.decrby(queued, done);
    return done;
  });

export const redisVersion = (url: string): Promise<string> =>
  withRedis(url, async (redis) => {
    const info = await redis.info('server');
    const version = (name: string) => new RegExp(`^${name}_version:(\\S+)`, 'm').exec(info)?.[1];
    const valkey = version('valkey');
    return valkey ? `Valkey ${valkey}` : `Redis ${version('redis')}`;
  });
