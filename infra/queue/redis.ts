// Queues on Redis or Valkey, through ioredis. One connection serves all additions. Each queue's worker has two more:
// one waits for jobs, the other one claims them and reports their results.
import { randomUUID } from 'node:crypto';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { Health } from '../runtime/health.ts';
import { within } from '../runtime/promises.ts';
import { publicReasonOf } from '../runtime/reason.ts';
import { StartupError } from '../runtime/startup-error.ts';
import { type Backend, type Connections, obliterate, streams, type WorkerSettings } from './backend.ts';
import { faultOfReply, isReply, type RedisFault, tryQueue, tryWrite } from './redis-check.ts';
import { connectionOptions, RECONNECT_MAX_MS, serverOptions } from './redis-connection.ts';

/** Interval at which the server's clock is read and the workers' connections are probed. */
const CHECK_EVERY_MS = 5_000;
/** How long the first connection may take, before the start goes on without it. */
const CONNECT_MS = 6_000;
/** How long Redis may take to respond once a stop has begun. */
const SILENT_MS = 500;

/**
 * Ends a connection for good, so that all of its commands reject. Between two attempts to connect, disconnect() alone
 * would let them wait forever.
 */
function end(connection: Redis): void {
  if (connection.status === 'reconnecting') connection.connect().catch(() => undefined);
  connection.disconnect();
}

interface RedisInspection {
  /** The response to INFO; empty if Redis rejects it. */
  readonly info: string;
  /** Redis's time minus this process's. */
  readonly clockDifferenceMs: number | undefined;
  readonly fault: RedisFault | undefined;
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
  /** The connections that were being made at the last check. */
  #connecting = new Set<Redis>();
  #isAway = false;
  /** Why Redis cannot hold the queues although it responds. */
  #fault: RedisFault | undefined;
  /** Whether a job has run through a queue on this Redis. */
  #isTried = false;
  #trying: Promise<void> | undefined;
  readonly #checkName = `check-${randomUUID()}`;
  #closed = false;
  readonly #log: Logger;
  #reconnectingSince = 0;
  #failedReadings = 0;

  /** Every key begins with `prefix`. */
  constructor(url: string, prefix: string, log: Logger) {
    this.#server = serverOptions(url);
    this.#prefix = prefix;
    this.#log = log;
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
      if (isReply(error)) this.#setFault(faultOfReply(error.message, prefix)); // it rejects the password
      if (!this.#isAway) log.warn({ error: error.message }, 'Redis is away');
      this.#isAway = true;
    });
    this.#producer.on('ready', () => {
      this.#isAway = false;
      log.info('connected to Redis');
      this.#readClock().catch(() => undefined); // the next reading suffices
      void this.#tryOut();
    });
  }

  /**
   * Resolves even if the server is away: connections are then retried in the background. Rejects with a StartupError if it
   * responds and can never hold the queues.
   */
  async start(): Promise<void> {
    await within(CONNECT_MS, this.#producer.connect())
      .then(() => this.#readClock())
      .catch(() => undefined); // logged above, and retried
    if (this.#producer.status === 'ready') await this.#tryOut();
    if (this.#fault?.isPermanent) throw new StartupError(`REDIS_URL cannot be used: ${this.#fault.reason}`);
    this.#checking = setInterval(() => this.#check(), CHECK_EVERY_MS);
  }

  /** For a check, instead of start(): connects once. Rejects with the reason if the server does not respond. */
  async inspect(): Promise<RedisInspection> {
    let reason: unknown;
    this.#producer.on('error', (error) => {
      reason = error;
    });
    try {
      await within(CONNECT_MS, this.#producer.connect());
      await this.#tryOut();
    } catch (error) {
      if (!this.#fault) throw reason ?? error;
    }
    if (!this.#fault && !this.#isTried) throw reason ?? new Error('it did not run a job in time');
    const info = await this.#producer.info().catch(() => '');
    const clock = await this.#readClock().then(
      () => this.now() - Date.now(),
      () => undefined,
    );
    return { info, clockDifferenceMs: clock, fault: this.#fault };
  }

  now(): number {
    return performance.now() + this.#clockDifferenceMs;
  }

  open(name: string, settings: WorkerSettings): Connections {
    if (this.#closed) throw new Error('the connections to Redis are closed');
    const prefix = this.#prefix;
    // BullMQ requires null: its worker waits for the server to come back. The concurrency bounds the waiting commands.
    const claiming = new Redis({ ...this.#server, ...connectionOptions, maxRetriesPerRequest: null });
    const own: Redis[] = [];
    const keep = (connection: Redis): Redis => {
      connection.on('error', () => undefined); // the worker reports it
      if (this.#closed) connection.disconnect();
      own.push(connection);
      this.#connections.add(connection);
      return connection;
    };
    // BullMQ makes a copy, which waits for jobs.
    const duplicate = claiming.duplicate.bind(claiming);
    keep(claiming).duplicate = (override) => keep(duplicate(override));
    this.#claiming.add(claiming);
    return {
      // Without BullMQ's own check of the version (start() makes one): if the command of that check failed, each later
      // addition to this queue would fail with the same error, however well Redis responds by then.
      queue: new Queue(name, { connection: this.#producer, prefix, streams, skipVersionCheck: true }),
      worker: new Worker(name, null, { ...settings, connection: claiming, prefix, autorun: false }),
      wake: () => undefined,
      sever: () => {
        for (const connection of own) {
          end(connection);
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

  renewConnection(error: unknown): void {
    if (isReply(error)) return; // the connection works
    if (this.#producer.status === 'ready') this.#producer.disconnect(true);
  }

  canWork(): boolean {
    return this.#producer.status === 'ready' && !this.#fault;
  }

  health(): Health {
    const { status } = this.#producer;
    const isReady = status === 'ready';
    if (this.#fault && (isReady || this.#fault.isPermanent))
      return { status: 'degraded', detail: publicReasonOf(`Redis responds, but ${this.#fault.reason}`) };
    if (!isReady) return { status: 'down', detail: `Redis is away (${status})` };
    const lost = [...this.#connections].filter((connection) => connection.status !== 'ready').length;
    return lost > 0 ? { status: 'degraded', detail: `connections to Redis that are away: ${lost}` } : { status: 'up' };
  }

  interrupt(): void {
    const silent = async () => {
      if (this.#producer.status === 'ready') await within(SILENT_MS, this.#producer.ping());
      else throw new Error('Redis is away');
    };
    silent().catch(() => this.#disconnect());
  }

  async close(): Promise<void> {
    this.#disconnect();
  }

  /** Commands that wait for a response reject. */
  #disconnect(): void {
    this.#closed = true;
    clearInterval(this.#checking);
    for (const connection of [...this.#connections, this.#producer]) end(connection);
  }

  /**
   * Finds out whether Redis can hold the queues: the first time with a whole job, later with one write, which tells of
   * all faults that come and go.
   */
  #tryOut(): Promise<void> {
    this.#trying ??= this.#tryNow().finally(() => {
      this.#trying = undefined;
    });
    return this.#trying;
  }

  async #tryNow(): Promise<void> {
    const options = {
      redis: this.#producer,
      prefix: this.#prefix,
      name: this.#checkName,
      open: (name: string, settings: WorkerSettings) => this.open(name, settings),
    };
    try {
      this.#setFault(await (this.#isTried ? tryWrite(options) : tryQueue(options)));
      if (!this.#fault) this.#isTried = true;
    } catch (error) {
      this.#log.debug({ error: String(error) }, 'not known whether Redis can hold the queues');
    }
  }

  #setFault(fault: RedisFault | undefined): void {
    if (fault?.reason !== this.#fault?.reason && !this.#closed) {
      if (fault) this.#log.warn({ reason: fault.reason }, 'degraded: Redis cannot hold the queues');
      else this.#log.info('Redis can hold the queues again');
    }
    this.#fault = fault;
  }

  #check(): void {
    const clockFailed = () => {
      // One failure may be a pause of this process; after two the connection only looks open, and commands would pile
      // up.
      if (++this.#failedReadings >= 2) this.renewConnection(undefined);
    };
    if (this.#producer.status === 'ready') {
      this.#readClock().catch(clockFailed);
      void this.#tryOut();
    }
    // An ioredis client whose reconnect delay is cut short at the wrong moment never reconnects
    // (taskforcesh/bullmq#4585).
    const waitedMs = performance.now() - this.#reconnectingSince;
    if (this.#producer.status === 'reconnecting' && waitedMs > 2 * RECONNECT_MAX_MS)
      this.#producer.connect().catch(() => undefined);
    // A peer that accepts a connection and sends nothing would keep it from ever becoming ready.
    const connecting = [this.#producer, ...this.#connections].filter(({ status }) => status === 'connect');
    for (const connection of connecting) if (this.#connecting.has(connection)) connection.disconnect(true);
    this.#connecting = new Set(connecting);
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
