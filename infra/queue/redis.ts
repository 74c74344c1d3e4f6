// Queues on Redis or Valkey, by ioredis. One connection for all additions, and for each queue two of its worker: one
// waits for jobs, the other one takes them and tells of their end.
import { Queue, Worker } from 'bullmq';
import { Redis, type RedisOptions } from 'ioredis';
import type { Logger } from 'pino';
import type { Health } from '../runtime/health.ts';
import type { Backend, Ends, WorkerSettings } from './backend.ts';
import { withinGrace } from './job-runner.ts';

const CONNECT_TIMEOUT_MS = 5_000;
const RECONNECT_MAX_MS = 500;
/** An addition that is not answered for this long has failed. */
const ADD_TIMEOUT_MS = 1_000;
/** How often the server's clock is read and the workers' connections are tried. */
const CHECK_EVERY_MS = 5_000;
/** Events that BullMQ keeps of a queue, about: nobody reads them. */
const KEPT_EVENTS = 100;

export interface RedisBackendOptions {
  readonly url: string;
  /** Begins the name of every key. */
  readonly prefix: string;
  readonly log: Logger;
}

/** While the server is away, at the start too, connections are tried again and again in the background. */
export async function redisBackend({ url, prefix, log }: RedisBackendOptions): Promise<Backend> {
  const common = {
    connectTimeout: CONNECT_TIMEOUT_MS,
    retryStrategy: (attempt: number) => Math.min(RECONNECT_MAX_MS, attempt * 50),
    keepAlive: 10_000,
  } satisfies RedisOptions;
  const producer = new Redis(url, {
    ...common,
    lazyConnect: true,
    // While the server is away an addition fails at once: waiting ones would fill the memory.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: ADD_TIMEOUT_MS,
  });
  const clock = new ServerClock(producer);
  let reconnectingSince = 0;
  producer.on('reconnecting', () => {
    reconnectingSince = performance.now();
  });
  let away = false;
  producer.on('error', (error) => {
    if (away) return;
    away = true;
    log.warn({ error: error.message }, 'Redis is away');
  });
  producer.on('ready', () => {
    away = false;
    log.info('connected to Redis');
    clock.read().catch(() => undefined); // the next reading will do
  });
  await producer.connect().then(
    () => clock.read(),
    () => undefined, // told above, and tried again
  );

  /** Those that take jobs, and all of the workers'. */
  const workers = new Set<Redis>();
  const connections = new Set<Redis>();
  const unanswered = new Set<Redis>();
  // Commands that were not answered would pile up on a connection that is dead.
  const suspect = () => {
    if (producer.status === 'ready') producer.disconnect(true);
  };
  let failedReadings = 0;
  const readClock = async () => {
    try {
      await clock.read();
      failedReadings = 0;
    } catch {
      // Once may be a pause of this process; twice, the connection only looks open.
      if (++failedReadings >= 2) suspect();
    }
  };
  const check = setInterval(() => {
    if (producer.status === 'ready') void readClock();
    // A client whose pause was cut short in the wrong moment waits for ever to connect again (taskforcesh/bullmq#4585).
    const waitedMs = performance.now() - reconnectingSince;
    if (producer.status === 'reconnecting' && waitedMs > 2 * RECONNECT_MAX_MS)
      producer.connect().catch(() => undefined);
    // A connection whose other end is gone without a word looks open; what it waits for is asked again on the next one.
    for (const connection of unanswered) if (connection.status === 'ready') connection.disconnect(true);
    unanswered.clear();
    for (const connection of workers) {
      if (connection.status !== 'ready') continue;
      unanswered.add(connection);
      connection.ping().then(
        () => unanswered.delete(connection),
        () => unanswered.delete(connection),
      );
    }
  }, CHECK_EVERY_MS);
  const open = (name: string, settings: WorkerSettings): Ends => {
    // BullMQ asks for null here: its worker waits for the server to come back. What waits is bounded by its concurrency.
    const connection = new Redis(url, { ...common, maxRetriesPerRequest: null });
    connection.on('error', () => undefined); // the worker reports it
    const own = [connection];
    // BullMQ makes the connection that waits for jobs as a copy of this one.
    const duplicate = connection.duplicate.bind(connection);
    connection.duplicate = (override) => {
      const copy = duplicate(override);
      copy.on('error', () => undefined);
      own.push(copy);
      connections.add(copy);
      return copy;
    };
    workers.add(connection);
    connections.add(connection);
    const queue = new Queue(name, {
      connection: producer,
      prefix,
      streams: { events: { maxLen: KEPT_EVENTS } },
    });
    const worker = new Worker(name, null, { ...settings, connection, prefix, autorun: false });
    return {
      queue,
      worker,
      wake: () => undefined,
      cut: () => {
        for (const each of own) {
          each.disconnect();
          connections.delete(each);
        }
        workers.delete(connection);
      },
    };
  };

  return {
    kind: 'redis',
    shared: true,
    now: () => clock.now(),
    claims: 64,
    open,
    remove: async (name) => {
      // It would write its settings beside what is removed.
      const queue = new Queue(name, { connection: producer, prefix, skipMetasUpdate: true });
      queue.on('error', () => undefined); // what is awaited rejects with it
      try {
        await queue.obliterate({ force: true });
        await producer.del(queue.toKey('limiter')); // which BullMQ leaves to run out
      } finally {
        await withinGrace(queue.close());
      }
    },
    assertReachable: () => {
      if (producer.status !== 'ready') throw new Error(`Redis is away (${producer.status})`);
    },
    suspect,
    health: (): Health => {
      if (producer.status !== 'ready') return { status: 'down', detail: `Redis is away (${producer.status})` };
      const waiting = [...connections].filter(({ status }) => status !== 'ready').length;
      return waiting > 0
        ? { status: 'degraded', detail: `${waiting} connections to Redis are away` }
        : { status: 'up' };
    },
    close: async () => {
      clearInterval(check);
      for (const connection of connections) connection.disconnect();
      producer.disconnect();
    },
  };
}

/** The time on Redis, told without asking each time: by the process's steady clock and the difference to Redis's. */
class ServerClock {
  readonly #redis: Redis;
  #differenceMs = performance.timeOrigin;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  now(): number {
    return performance.now() + this.#differenceMs;
  }

  /** Of a few readings the quickest one is the most exact. */
  async read(): Promise<void> {
    let bestMs = Number.POSITIVE_INFINITY;
    for (let reading = 0; reading < 3; reading++) {
      const askedAt = performance.now();
      const [seconds, microseconds] = await this.#redis.time();
      const tookMs = performance.now() - askedAt;
      if (tookMs >= bestMs) continue;
      bestMs = tookMs;
      this.#differenceMs = Number(seconds) * 1000 + Number(microseconds) / 1000 - (askedAt + tookMs / 2);
    }
  }
}
