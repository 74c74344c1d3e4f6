// Queues on Redis or Valkey, through ioredis. One connection serves all additions. Each queue's worker has two more:
// one waits for jobs, the other one claims them and reports their results.
import { Queue, Worker } from 'bullmq';
import { Redis, type RedisOptions } from 'ioredis';
import type { Logger } from 'pino';
import type { Health } from '../runtime/health.ts';
import { withServerName } from '../runtime/tls-params.ts';
import { type Backend, type Connections, obliterate, streams, type WorkerSettings } from './backend.ts';
import { parseRedisUrl } from './redis-url.ts';

const RECONNECT_MAX_MS = 500;
/** Interval at which the server's clock is read and the workers' connections are probed. */
const CHECK_EVERY_MS = 5_000;

const connectionOptions = {
  connectTimeout: 5_000,
  retryStrategy: (attempt: number) => Math.min(RECONNECT_MAX_MS, attempt * 50),
  keepAlive: 10_000,
} satisfies RedisOptions;

function serverOptions(url: string) {
  const { host, port, user, password, database, family, tls } = parseRedisUrl(url);
  return {
    ...{ host, port, family, db: database },
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password }),
    ...(tls && { tls: { ...withServerName(tls, host) } }),
  };
}

export class RedisBackend implements Backend {
  readonly kind = 'redis';
  readonly shared = true;
  readonly concurrentClaims = 64;
  readonly #server: ReturnType<typeof serverOptions>;
  readonly #prefix: string;
  readonly #producer: Redis;
  /** This process's monotonic clock plus this is Redis's time, without a round trip. */
  #clockDifferenceMs = performance.timeOrigin;
  /** All connections of the workers. */
  readonly #connections = new Set<Redis>();
  /** The connections that claim jobs. */
  readonly #claiming = new Set<Redis>();
  /** The connections without a reply to the last ping. */
  readonly #awaitingReply = new Set<Redis>();
  #checking: NodeJS.Timeout | undefined;
  #isAway = false;
  #reconnectingSince = 0;
  #failedReadings = 0;

  /** Every key begins with `prefix`. */
  constructor(url: string, prefix: string, log: Logger) {
    this.#server = serverOptions(url);
    this.#prefix = prefix;
    this.#producer = new Redis({
      ...this.#server,
      ...connectionOptions,
      lazyConnect: true,
      // While the server is away an addition fails at once; waiting ones would fill the memory.
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      commandTimeout: 1_000, // an addition that takes longer has failed
    });
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
      this.#readClock().catch(() => undefined); // the next reading suffices
    });
  }

  /** Resolves even if the server is away: connections are then retried in the background. */
  async start(): Promise<void> {
    await this.#producer.connect().then(
      () => this.#readClock(),
      () => undefined, // logged above, and retried
    );
    this.#checking = setInterval(() => this.#check(), CHECK_EVERY_MS);
  }

  now(): number {
    return performance.now() + this.#clockDifferenceMs;
  }

  open(name: string, settings: WorkerSettings): Connections {
    const prefix = this.#prefix;
    // BullMQ requires null: its worker waits for the server to come back. The concurrency bounds the waiting commands.
    const claiming = new Redis({ ...this.#server, ...connectionOptions, maxRetriesPerRequest: null });
    const own: Redis[] = [];
    const keep = (connection: Redis): Redis => {
      connection.on('error', () => undefined); // the worker reports it
      own.push(connection);
      this.#connections.add(connection);
      return connection;
    };
    // BullMQ makes a copy, which waits for jobs.
    const duplicate = claiming.duplicate.bind(claiming);
    keep(claiming).duplicate = (override) => keep(duplicate(override));
    this.#claiming.add(claiming);
    return {
      queue: new Queue(name, { connection: this.#producer, prefix, streams }),
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
    const queue = new Queue(name, { connection: this.#producer, prefix: this.#prefix, skipMetasUpdate: true });
    await obliterate(queue);
    await this.#producer.del(queue.toKey('limiter')); // BullMQ leaves this key to expire
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
    return lost > 0 ? { status: 'degraded', detail: `connections to Redis that are away: ${lost}` } : { status: 'up' };
  }

  async close(): Promise<void> {
    clearInterval(this.#checking);
    for (const connection of this.#connections) connection.disconnect();
    this.#producer.disconnect();
  }

  #check(): void {
    const clockFailed = () => {
      // One failure may be a pause of this process; after two the connection only looks open, and commands would pile
      // up.
      if (++this.#failedReadings >= 2) this.renewConnection();
    };
    if (this.#producer.status === 'ready') this.#readClock().catch(clockFailed);
    // An ioredis client whose reconnect delay is cut short at the wrong moment never reconnects
    // (taskforcesh/bullmq#4585).
    const waitedMs = performance.now() - this.#reconnectingSince;
    if (this.#producer.status === 'reconnecting' && waitedMs > 2 * RECONNECT_MAX_MS)
      this.#producer.connect().catch(() => undefined);
    // A connection whose peer is gone looks open. Its pending commands are sent again on the next one.
    for (const connection of this.#awaitingReply) if (connection.status === 'ready') connection.disconnect(true);
    this.#awaitingReply.clear();
    for (const connection of this.#claiming) {
      if (connection.status !== 'ready') continue;
      this.#awaitingReply.add(connection);
      const settled = () => this.#awaitingReply.delete(connection);
      connection.ping().then(settled, settled);
    }
  }

  /** Measures three times; the reading with the shortest round trip is the most exact. */
  async #readClock(): Promise<void> {
    let bestMs = Infinity;
    for (let reading = 0; reading < 3; reading++) {
      const askedAt = performance.now();
      const [seconds, microseconds] = await this.#producer.time();
      const tookMs = performance.now() - askedAt;
      if (tookMs >= bestMs) continue;
      bestMs = tookMs;
      this.#clockDifferenceMs = Number(seconds) * 1000 + Number(microseconds) / 1000 - (askedAt + tookMs / 2);
    }
    this.#failedReadings = 0;
  }
}
