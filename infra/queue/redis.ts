// Queues on Redis or Valkey, through ioredis. One connection serves all additions. Each queue's worker has two more:
// one waits for jobs, the other one claims them and reports their results.
import { Queue, Worker } from 'bullmq';
import { Redis, type RedisOptions } from 'ioredis';
import type { Logger } from 'pino';
import type { Health } from '../runtime/health.ts';
import type { Backend, Connections, WorkerSettings } from './backend.ts';
import { withinGrace } from './job-runner.ts';

const CONNECT_TIMEOUT_MS = 5_000;
const RECONNECT_MAX_MS = 500;
/** An addition that takes longer has failed. */
const ADD_TIMEOUT_MS = 1_000;
/** Interval at which the server's clock is read and the workers' connections are probed. */
const CHECK_EVERY_MS = 5_000;
/** Approximate number of events that BullMQ keeps per queue; they are not used. */
const KEPT_EVENTS = 100;

const connectionOptions = {
  connectTimeout: CONNECT_TIMEOUT_MS,
  retryStrategy: (attempt: number) => Math.min(RECONNECT_MAX_MS, attempt * 50),
  keepAlive: 10_000,
} satisfies RedisOptions;

export interface RedisBackendOptions {
  readonly url: string;
  /** Prefix of every key. */
  readonly prefix: string;
  readonly log: Logger;
}

export class RedisBackend implements Backend {
  readonly kind = 'redis';
  readonly shared = true;
  readonly concurrentClaims = 64;
  readonly #options: RedisBackendOptions;
  readonly #producer: Redis;
  readonly #clock: ServerClock;
  /** All connections of the workers. */
  readonly #connections = new Set<Redis>();
  /** Those that claim jobs. */
  readonly #claiming = new Set<Redis>();
  /** Those that have not answered the last ping. */
  readonly #unanswered = new Set<Redis>();
  #checking: NodeJS.Timeout | undefined;
  #isAway = false;
  #reconnectingSince = 0;
  #failedReadings = 0;

  constructor(options: RedisBackendOptions) {
    const { url, log } = options;
    this.#options = options;
    this.#producer = new Redis(url, {
      ...connectionOptions,
      lazyConnect: true,
      // While the server is away an addition fails at once; waiting ones would fill the memory.
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      commandTimeout: ADD_TIMEOUT_MS,
    });
    this.#clock = new ServerClock(this.#producer);
    this.#producer.on('reconnecting', () => {
      this.#reconnectingSince = performance.now();
    });
    this.#producer.on('error', (error) => {
      if (!this.#isAway) log.warn({ error: error.message }, 'Redis is away');
      this.#isAway = true;
    });
    this.#producer.on('ready', () => {
      this.#isAway = false;
      log.info('connected to Redis');
      this.#clock.read().catch(() => undefined); // the next reading suffices
    });
  }

  /** Resolves even if the server is away: connections are then retried in the background. */
  async start(): Promise<void> {
    await this.#producer.connect().then(
      () => this.#clock.read(),
      () => undefined, // logged above, and retried
    );
    this.#checking = setInterval(() => this.#check(), CHECK_EVERY_MS);
  }

  now(): number {
    return this.#clock.now();
  }

  open(name: string, settings: WorkerSettings): Connections {
    const { prefix } = this.#options;
    const { claiming, own } = this.#connectWorker();
    return {
      queue: new Queue(name, { connection: this.#producer, prefix, streams: { events: { maxLen: KEPT_EVENTS } } }),
      worker: new Worker(name, null, { ...settings, connection: claiming, prefix, autorun: false }),
      wake: () => undefined,
      sever: () => {
        for (const connection of own) {
          connection.disconnect();
          this.#connections.delete(connection);
        }
        this.#claiming.delete(claiming);
      },
    };
  }

  async remove(name: string): Promise<void> {
    // With metadata the queue would write its settings beside the keys that are removed.
    const options = { connection: this.#producer, prefix: this.#options.prefix, skipMetasUpdate: true };
    const queue = new Queue(name, options);
    queue.on('error', () => undefined); // the calls below reject with it
    try {
      await queue.obliterate({ force: true });
      await this.#producer.del(queue.toKey('limiter')); // BullMQ leaves this key to expire
    } finally {
      await withinGrace(queue.close());
    }
  }

  assertReachable(): void {
    if (this.#producer.status !== 'ready') throw new Error(`Redis is away (${this.#producer.status})`);
  }

  renewConnection(): void {
    if (this.#producer.status === 'ready') this.#producer.disconnect(true);
  }

  health(): Health {
    const { status } = this.#producer;
    if (status !== 'ready') return { status: 'down', detail: `Redis is away (${status})` };
    const lost = [...this.#connections].filter((connection) => connection.status !== 'ready').length;
    return lost > 0 ? { status: 'degraded', detail: `${lost} connections to Redis are away` } : { status: 'up' };
  }

  async close(): Promise<void> {
    clearInterval(this.#checking);
    for (const connection of this.#connections) connection.disconnect();
    this.#producer.disconnect();
  }

  /** The connection that claims jobs, and a list of it and the one that BullMQ makes as its copy. */
  #connectWorker(): { readonly claiming: Redis; readonly own: readonly Redis[] } {
    // BullMQ requires null: its worker waits for the server to come back. The concurrency bounds the waiting commands.
    const claiming = new Redis(this.#options.url, { ...connectionOptions, maxRetriesPerRequest: null });
    claiming.on('error', () => undefined); // the worker reports it
    const own = [claiming];
    const duplicate = claiming.duplicate.bind(claiming);
    claiming.duplicate = (override) => {
      const copy = duplicate(override);
      copy.on('error', () => undefined);
      own.push(copy);
      this.#connections.add(copy);
      return copy;
    };
    this.#claiming.add(claiming);
    this.#connections.add(claiming);
    return { claiming, own };
  }

  #check(): void {
    if (this.#producer.status === 'ready') void this.#readClock();
    // An ioredis client whose reconnect delay is cut short at the wrong moment never reconnects
    // (taskforcesh/bullmq#4585).
    const waitedMs = performance.now() - this.#reconnectingSince;
    if (this.#producer.status === 'reconnecting' && waitedMs > 2 * RECONNECT_MAX_MS)
      this.#producer.connect().catch(() => undefined);
    // A connection whose peer is gone looks open. Its pending commands are sent again on the next one.
    for (const connection of this.#unanswered) if (connection.status === 'ready') connection.disconnect(true);
    this.#unanswered.clear();
    for (const connection of this.#claiming) {
      if (connection.status !== 'ready') continue;
      this.#unanswered.add(connection);
      const answered = () => this.#unanswered.delete(connection);
      connection.ping().then(answered, answered);
    }
  }

  async #readClock(): Promise<void> {
    try {
      await this.#clock.read();
      this.#failedReadings = 0;
    } catch {
      // One failure may be a pause of this process; after two the connection only looks open, and commands would pile
      // up.
      if (++this.#failedReadings >= 2) this.renewConnection();
    }
  }
}

/** Redis's time without a round trip: this process's monotonic clock plus the last measured difference to Redis's. */
class ServerClock {
  readonly #redis: Redis;
  #differenceMs = performance.timeOrigin;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  now(): number {
    return performance.now() + this.#differenceMs;
  }

  /** Measures three times; the reading with the shortest round trip is the most exact. */
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
