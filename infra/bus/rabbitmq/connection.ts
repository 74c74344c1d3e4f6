// One connection to the broker. amqplib's recovery restores it; this class adds its state, deadlines and cluster nodes.
import type { Duplex } from 'node:stream';
import { type Channel, type ChannelModel, connect, type RecoveringChannelModel } from 'amqplib';
import type { Logger } from 'pino';
import { ConnectionState } from '../../runtime/connection-state.ts';
import type { Health } from '../../runtime/health.ts';
import { deferred, within } from '../../runtime/promises.ts';
import { BrokerNodes } from './broker-nodes.ts';

/** For a broker that accepts the connection and then sends nothing. */
const HANDSHAKE_TIMEOUT_MS = 5_000;
/** Between attempts to connect; with several nodes, until each of them has been tried. */
const RETRY_MAX_MS = 5_000;
/** For a broker that does not confirm the close. */
const CLOSE_TIMEOUT_MS = 2_000;
const NOT_CONNECTED = 'no connection to the broker';

export interface ConnectionOptions {
  /** One URL, or the URLs of a cluster's nodes, separated by commas. If a node cannot be reached or is lost, the next
   *  attempt goes to the next node. */
  readonly urls: string;
  /** The name that the broker's tools show. */
  readonly name: string;
  /** How long the broker may take for a reply. */
  readonly replyTimeoutMs: number;
  readonly log: Logger;
}

/** Connects in the background, again and again (100 ms to 5 s apart). */
export class Connection {
  readonly replyTimeoutMs: number;
  /** Channels that the broker was asked to close and has not closed. */
  readonly unclosed = new Set<Channel>();
  readonly #options: ConnectionOptions;
  readonly #nodes: BrokerNodes;
  readonly #state: ConnectionState;
  readonly #listeners = new Set<() => void>();
  readonly #attempted = deferred();
  readonly #recovering: Promise<RecoveringChannelModel>;
  #model: ChannelModel | undefined;
  #blocked = false;
  #closing: Promise<void> | undefined;

  constructor(options: ConnectionOptions) {
    const { urls, name, replyTimeoutMs, log } = options;
    this.#options = options;
    this.replyTimeoutMs = replyTimeoutMs;
    this.#nodes = new BrokerNodes(urls);
    this.#state = new ConnectionState({
      name: 'RabbitMQ client',
      log,
      fields: () => ({ connection: name, node: this.#nodes.name }),
    });
    this.#recovering = this.#connect();
  }

  /** The open connection, or undefined while there is none. */
  get model(): ChannelModel | undefined {
    return this.#model;
  }

  /** Whether the broker has stopped reading from this connection, as it does while it is short of memory or disk. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** Resolves when the first attempt to connect has succeeded or failed. */
  get attempted(): Promise<void> {
    return this.#attempted.promise;
  }

  health(): Health {
    return this.#state.health;
  }

  /** Calls `listener` when a connection was made or lost, blocked or unblocked. Returns a function that ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Breaks the connection, so that a new one is made. */
  reset(reason: string): void {
    if (this.#model) socketOf(this.#model).destroy(new Error(reason));
  }

  /** Takes at most CLOSE_TIMEOUT_MS. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= this.#disconnect();
    return this.#closing;
  }

  async #connect(): Promise<RecoveringChannelModel> {
    const recovering = await connect(this.#nodes.current, {
      noDelay: true,
      keepAlive: true,
      timeout: HANDSHAKE_TIMEOUT_MS,
      clientProperties: { connection_name: this.#options.name },
      recovery: {
        initialDelay: 100,
        maxDelay: RETRY_MAX_MS / this.#nodes.count,
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
    recovering.on('connect-failed', (error) => this.#disconnected(error));
    recovering.on('blocked', (reason) => this.#setBlocked(true, reason));
    recovering.on('unblocked', () => this.#setBlocked(false));
    return recovering;
  }

  #connected(model: ChannelModel): void {
    this.#model = model;
    this.#state.up();
    this.#attempted.resolve();
    this.#changed();
  }

  #disconnected(error: Error): void {
    const wasConnected = this.#model !== undefined;
    this.#model = undefined;
    this.#blocked = false;
    this.#state.down(NOT_CONNECTED, error);
    this.#nodes.advance();
    this.#attempted.resolve();
    if (wasConnected) this.#changed();
  }

  #setBlocked(blocked: boolean, reason?: string): void {
    const { name, log } = this.#options;
    this.#blocked = blocked;
    if (blocked) {
      log.warn({ connection: name, reason }, 'blocked by the broker');
      this.#state.degraded('blocked by the broker');
    } else {
      log.info({ connection: name }, 'unblocked by the broker');
      this.#state.up();
    }
    this.#changed();
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }

  async #disconnect(): Promise<void> {
    const recovering = await this.#recovering;
    const model = this.#model;
    this.#model = undefined;
    this.#state.reset(NOT_CONNECTED);
    if (!model) return recovering.close();
    // close() alone would wait forever for the reply of a broker that is gone.
    const gone = new Promise((resolve) => model.once('close', resolve));
    const deadline = setTimeout(() => socketOf(model).destroy(new Error('no reply to close')), CLOSE_TIMEOUT_MS);
    await Promise.race([recovering.close(), gone]);
    clearTimeout(deadline);
  }
}

/** Runs on each new connection before recovery watches it. It must not hang: recovery would wait for it forever. */
async function prepare(model: ChannelModel): Promise<void> {
  // Until recovery listens, an error without this listener would end the process.
  model.on('error', () => undefined);
  model.on('close', () => socketOf(model).destroy());
  // Recovery would take a connection that ended before it listened for an open one. One round trip shows the difference.
  const silent = new Error(`no reply within ${HANDSHAKE_TIMEOUT_MS} ms`);
  const closed = new Promise((resolve) => model.once('close', resolve));
  const probe = await within(HANDSHAKE_TIMEOUT_MS, model.createChannel(), () => silent).catch(async (error) => {
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
