// One connection to the broker. amqplib's recovery restores it; this class adds its state, cluster nodes and deadlines
// for requests: while a queue has no leader, or when a node is about to fail, a reply may never come.
import { EventEmitter, setMaxListeners } from 'node:events';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { type Channel, type ChannelModel, connect, type RecoveringChannelModel } from 'amqplib';
import type { Logger } from 'pino';
import { ConnectionState, type Health } from '../../runtime/health.ts';
import { deferred, within } from '../../runtime/promises.ts';
import { hostPort } from '../../runtime/server-url.ts';
import { fieldsOf, socketOptionsOf } from './connect-options.ts';
import type { BusSettings } from './options.ts';
import { type AmqpServer, parseAmqpUrls } from './url.ts';

/** For a broker that opens the connection and then sends nothing. */
const PROBE_TIMEOUT_MS = 5_000;
/** Between attempts to connect; with several nodes, until each of them has been tried. */
const RETRY_MAX_MS = 5_000;
/** For a broker that does not confirm the close, and for any other reply once a stop has begun. */
const STOP_TIMEOUT_MS = 500;
/** Channels that the broker does not close; with more, the connection is replaced. */
const MAX_UNCLOSED = 100;
const NOT_CONNECTED = 'no connection to the broker';

export class ReplyTimeout extends Error {
  override readonly name = 'ReplyTimeout';
}

/**
 * Connects in the background, again and again (100 ms to 5 s apart). Emits `change` when a connection was made or lost,
 * blocked or unblocked.
 */
export class Connection extends EventEmitter<{ change: [] }> {
  /** The deadline for declaring all queues, which takes many replies and is slow. */
  readonly declareTimeoutMs: number;
  readonly #replyTimeoutMs: number;
  /** Channels that the broker was asked to close and has not closed. */
  readonly #unclosed = new Set<Channel>();
  /** The name that the broker's tools show. */
  readonly #name: string;
  readonly #log: Logger;
  /** The nodes of the cluster, which are tried in turn. */
  readonly #nodes: readonly AmqpServer[];
  /** The next node's fields. Always the same object: amqplib reads it again at each attempt. */
  readonly #fields: ReturnType<typeof fieldsOf>;
  readonly #state: ConnectionState;
  readonly #attempted = deferred();
  readonly #interrupted = deferred();
  /** Destroys every socket, also one that is still connecting, which amqplib does not do. */
  readonly #abandoned = new AbortController();
  /** Resolves when a stop has begun. */
  readonly interrupted = this.#interrupted.promise;
  /** Resolves when the first attempt to connect has succeeded or failed, or a stop has begun. */
  readonly attempted = this.#attempted.promise;
  readonly #recovering: Promise<RecoveringChannelModel>;
  #nodeIndex = 0;
  #model: ChannelModel | undefined;
  #blocked = false;
  #stopping = false;
  #closing: Promise<void> | undefined;

  constructor({ url, topology, replyTimeoutMs, log }: BusSettings, purpose: string) {
    super();
    this.setMaxListeners(0);
    setMaxListeners(0, this.#abandoned.signal);
    this.#replyTimeoutMs = replyTimeoutMs;
    this.declareTimeoutMs = 3 * replyTimeoutMs;
    this.#name = `${topology.prefix} ${purpose}`;
    this.#log = log;
    this.#nodes = parseAmqpUrls(url);
    this.#fields = fieldsOf(this.#server);
    const fields = () => ({ connection: this.#name, node: hostPort(this.#server) });
    this.#state = new ConnectionState({ name: 'RabbitMQ client', log, fields });
    this.#recovering = this.#connect();
  }

  /** How long the broker may take for one reply. */
  get replyTimeoutMs(): number {
    return this.#stopping ? Math.min(STOP_TIMEOUT_MS, this.#replyTimeoutMs) : this.#replyTimeoutMs;
  }

  /** The open connection, or undefined while there is none. */
  get model(): ChannelModel | undefined {
    return this.#model;
  }

  /** Whether the broker has stopped reading from this connection, as it does while it is short of memory or disk. */
  get blocked(): boolean {
    return this.#blocked;
  }

  health(): Health {
    return this.#state.health;
  }

  /** The node to connect to. */
  get #server(): AmqpServer {
    return this.#nodes[this.#nodeIndex] as AmqpServer;
  }

  /**
   * Settles as `request` does, or rejects with ReplyTimeout, or with the signal's reason when it aborts. A blocked
   * connection prolongs the deadline.
   */
  withDeadline<T>(request: Promise<T>, timeoutMs = this.replyTimeoutMs, signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        end();
        reject(error);
      };
      const deadline = setInterval(() => {
        if (!this.#blocked) fail(new ReplyTimeout(`no reply within ${timeoutMs} ms`));
      }, timeoutMs);
      const aborted = () => fail(signal?.reason);
      signal?.addEventListener('abort', aborted);
      const end = () => {
        clearInterval(deadline);
        signal?.removeEventListener('abort', aborted);
      };
      request.then((reply) => {
        end();
        resolve(reply);
      }, fail);
    });
  }

  /** Opens a channel. If it does not open in time, the connection is replaced. */
  async openChannel<C extends Channel>(open: (model: ChannelModel) => Promise<C>, signal?: AbortSignal): Promise<C> {
    const model = this.#model;
    if (!model) throw new Error(NOT_CONNECTED);
    const opening = open(model);
    try {
      return await this.withDeadline(opening, this.replyTimeoutMs, signal);
    } catch (error) {
      if (error instanceof ReplyTimeout && this.#model === model) this.#reset('no channel opens');
      opening.then(
        (late) => this.closeChannel(late),
        () => undefined,
      );
      throw error;
    }
  }

  /**
   * Resolves when the channel is closed, or abandoned because the broker does not close it in time. (channel.close()
   * alone never settles when the connection ends.)
   */
  async closeChannel(channel: Channel): Promise<void> {
    const unclosed = this.#unclosed;
    if (unclosed.has(channel)) return;
    unclosed.add(channel);
    const ended = new Promise<void>((resolve) => channel.once('close', () => resolve()));
    const requested = channel.close().catch(() => undefined); // it was closed already
    const closed = Promise.race([ended, requested]).finally(() => unclosed.delete(channel));
    if (unclosed.size > MAX_UNCLOSED) this.#reset(`${unclosed.size} channels do not close`);
    await this.withDeadline(closed).catch(() => undefined);
  }

  /** For a stop: a broker that is away or does not respond is no longer waited for. */
  interrupt(): void {
    this.#stopping = true;
    this.#attempted.resolve();
    this.#interrupted.resolve();
  }

  /** Takes at most STOP_TIMEOUT_MS. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= this.#disconnect();
    return this.#closing;
  }

  /** Breaks the connection, so that a new one is made. */
  #reset(reason: string): void {
    if (this.#model) socketOf(this.#model).destroy(new Error(reason));
  }

  async #connect(): Promise<RecoveringChannelModel> {
    // Node's sockets take a signal, which amqplib passes on and its types lack.
    const abandoned: object = { signal: this.#abandoned.signal };
    const recovering = await connect(this.#fields, {
      ...socketOptionsOf(this.#nodes),
      ...abandoned,
      noDelay: true,
      keepAlive: true,
      clientProperties: { connection_name: this.#name },
      recovery: {
        initialDelay: 100,
        maxDelay: RETRY_MAX_MS / this.#nodes.length,
        factor: 2,
        jitter: 0.3,
        waitForConnect: false,
        setup: prepare,
      },
    });
    /** 'disconnect' follows, not always with the same error. */
    let cause: Error | undefined;
    recovering.on('error', (error) => {
      cause = error;
    });
    recovering.on('connect', (model) => this.#connected(model));
    recovering.on('disconnect', (error) => {
      this.#disconnected(cause ?? error);
      cause = undefined;
    });
    recovering.on('connect-failed', (error) => this.#disconnected(rejectedVhost(error, this.#server) ?? error));
    recovering.on('blocked', (reason) => this.#setBlocked(true, reason));
    recovering.on('unblocked', () => this.#setBlocked(false));
    return recovering;
  }

  #connected(model: ChannelModel): void {
    this.#model = model;
    this.#state.up();
    this.#attempted.resolve();
    this.emit('change');
  }

  #disconnected(error: Error): void {
    const wasConnected = this.#model !== undefined;
    this.#model = undefined;
    this.#blocked = false;
    this.#state.down(NOT_CONNECTED, error);
    this.#nodeIndex = (this.#nodeIndex + 1) % this.#nodes.length;
    Object.assign(this.#fields, fieldsOf(this.#server));
    this.#attempted.resolve();
    if (wasConnected) this.emit('change');
  }

  #setBlocked(blocked: boolean, reason?: string): void {
    this.#blocked = blocked;
    if (blocked) {
      this.#log.warn({ connection: this.#name, reason }, 'blocked by the broker');
      this.#state.degraded('blocked by the broker');
    } else {
      this.#log.info({ connection: this.#name }, 'unblocked by the broker');
      this.#state.up();
    }
    this.emit('change');
  }

  async #disconnect(): Promise<void> {
    const recovering = await this.#recovering;
    const model = this.#model;
    this.#model = undefined;
    this.#state.reset(NOT_CONNECTED);
    // close() alone would wait forever for the reply of a broker that is gone.
    const gone = model && new Promise((resolve) => model.once('close', resolve));
    const late = delay(STOP_TIMEOUT_MS, undefined, { ref: false });
    await Promise.race([recovering.close(), ...(gone ? [gone, late] : [])]);
    this.#abandoned.abort();
  }
}

/** RabbitMQ rejects a vhost after the login, and amqplib's error does not say so. */
export const rejectedVhost = ({ message }: Error, { vhost, user }: AmqpServer): Error | undefined =>
  message.startsWith('Expected ConnectionOpenOk;')
    ? new Error(`there is no vhost "${vhost}", or the user "${user}" may not use it`)
    : undefined;

/** Runs on each new connection before recovery watches it. It must not hang: recovery would wait for it forever. */
async function prepare(model: ChannelModel): Promise<void> {
  // Until recovery listens, an error without this listener would end the process.
  model.on('error', () => undefined);
  model.on('close', () => socketOf(model).destroy());
  // If the connection ended before recovery listened, recovery would regard it as open. One round trip shows whether it
  // is.
  const silent = new Error(`no reply within ${PROBE_TIMEOUT_MS} ms`);
  const closed = new Promise((resolve) => model.once('close', resolve));
  const probe = await within(PROBE_TIMEOUT_MS, model.createChannel(), () => silent).catch(async (error) => {
    if (error !== silent) throw error; // the connection has ended
    // Recovery closes a connection that could not be prepared, and waits for a reply unless it is closed already.
    socketOf(model).destroy(silent);
    await closed;
    throw silent;
  });
  probe.on('error', () => undefined);
  probe.close().catch(() => undefined);
}

/** amqplib ends the socket and never destroys it: a silent broker would keep it, and all that is buffered, forever. */
const socketOf = (model: ChannelModel) => (model.connection as unknown as { stream: Duplex }).stream;
