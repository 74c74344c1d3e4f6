// Keeps one channel open. amqplib's recovery ends at the connection: a channel that the broker closes (something is
// missing or was declared otherwise, an acknowledgement took too long) stays closed.
import type { Channel, ChannelModel } from 'amqplib';
import type { Logger } from 'pino';
import { backoff, isLogged } from '../../runtime/backoff.ts';
import type { Health } from '../../runtime/health.ts';
import type { Connection } from './connection.ts';

const RETRY_BASE_MS = 100;
const RETRY_MAX_MS = 5_000;
/** A channel that takes longer to close hangs at the broker, as it does while a queue has no leader. */
const CLOSE_TIMEOUT_MS = 5_000;

export interface KeptChannelOptions<C extends Channel> {
  readonly connection: Connection;
  /** What the channel is for, in logs. */
  readonly name: string;
  readonly open: (model: ChannelModel) => Promise<C>;
  /** Makes a new channel usable. Runs again on every renewal; rejecting closes the channel, and another is tried. */
  readonly setUp: (channel: C) => Promise<void>;
  /** The channel is set up and now `current`. */
  readonly onReady?: () => void;
  readonly log: Logger;
}

export class KeptChannel<C extends Channel> {
  readonly #options: KeptChannelOptions<C>;
  readonly #endWatch: () => void;
  #current: C | undefined;
  #attempt: Promise<void> | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #failures = 0;
  #readyAt = 0;
  #trouble = 'not opened yet';
  #retired = false;

  constructor(options: KeptChannelOptions<C>) {
    this.#options = options;
    this.#endWatch = options.connection.onChange(() => void this.#try());
    void this.#try();
  }

  /** The open channel that is set up, or undefined while there is none. */
  get current(): C | undefined {
    return this.#current;
  }

  health(): Health {
    const connection = this.#options.connection.health();
    if (connection.status !== 'up' || this.#current) return connection;
    return { status: 'down', detail: 'no channel to the broker' };
  }

  /** Resolves when the attempt to open it that is under way, if any, has succeeded or failed. */
  async settled(): Promise<void> {
    await this.#attempt;
  }

  /** Closes the channel and opens another one. Resolves when that has succeeded or failed; it is then tried again. */
  async renew(reason: string): Promise<void> {
    const { connection, name, log } = this.#options;
    const channel = this.#release(reason);
    if (channel) {
      log.warn({ channel: name, reason }, 'renewing the channel');
      // A broker that blocks the connection reads no close either, and will do so in time.
      const deadline = setInterval(() => {
        if (!connection.blocked()) connection.reset(`channel ${name} does not close`);
      }, CLOSE_TIMEOUT_MS);
      // One after the other: a broker that confirms the close has read all that was buffered for the old channel.
      await closeChannel(channel);
      clearInterval(deadline);
    }
    await this.#try();
  }

  /** From now on a lost channel stays lost. Resolves when no attempt is under way. */
  async retire(): Promise<void> {
    this.#retired = true;
    this.#endWatch();
    clearTimeout(this.#retryTimer);
    await this.#attempt;
  }

  async close(): Promise<void> {
    await this.retire();
    const channel = this.#release('closed');
    if (channel) await closeChannel(channel);
  }

  #release(reason: string): C | undefined {
    const channel = this.#current;
    // A channel that lived for a while starts over at the shortest delay; one that dies at once does not.
    if (channel && performance.now() - this.#readyAt > RETRY_MAX_MS) this.#failures = 0;
    this.#current = undefined;
    this.#trouble = reason;
    return channel;
  }

  /** Never rejects: an attempt that fails is followed by another one. */
  #try(): Promise<void> {
    clearTimeout(this.#retryTimer);
    this.#attempt ??= this.#open().finally(() => {
      this.#attempt = undefined;
    });
    return this.#attempt;
  }

  async #open(): Promise<void> {
    const { connection, name, open, setUp, onReady, log } = this.#options;
    const model = connection.model();
    // Without a connection there is nothing to try: the next one comes back here.
    if (!model || this.#current || this.#retired) return;
    let channel: C | undefined;
    let closed = false;
    try {
      const opened = await open(model);
      channel = opened;
      opened.on('error', (error) => {
        this.#trouble = error.message;
      });
      // Before amqplib's own listener, so that confirm callbacks called from there find the channel gone.
      opened.prependListener('close', () => {
        closed = true;
        if (this.#current !== opened) return;
        this.#release(this.#trouble);
        this.#retryLater();
      });
      await setUp(opened);
      if (closed) throw new Error(this.#trouble);
      this.#current = opened;
      this.#readyAt = performance.now();
      this.#trouble = 'channel closed';
      log.debug({ channel: name }, 'channel open');
      onReady?.();
    } catch (error) {
      this.#trouble = error instanceof Error ? error.message : String(error);
      if (channel) await closeChannel(channel);
      this.#retryLater();
    }
  }

  #retryLater(): void {
    const { connection, name, log } = this.#options;
    if (this.#retired) return;
    this.#failures++;
    const delayMs = backoff(this.#failures, RETRY_BASE_MS, RETRY_MAX_MS);
    this.#retryTimer = setTimeout(() => {
      // The channel may have gone with its connection, which tells so itself.
      if (connection.model() && isLogged(this.#failures))
        log.warn({ channel: name, error: this.#trouble }, 'channel lost, opening another one');
      void this.#try();
    }, delayMs);
  }
}

/** Resolves once the channel is closed, by whatever: channel.close() alone never returns when the connection ends. */
export async function closeChannel(channel: Channel): Promise<void> {
  const closed = new Promise<void>((resolve) => channel.once('close', () => resolve()));
  const asked = channel.close().catch(() => undefined); // it was closed already
  await Promise.race([closed, asked]);
}
