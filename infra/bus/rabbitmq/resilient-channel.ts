// Keeps one channel open. amqplib restores connections, not channels: one that the broker closes (a queue is missing or
// was declared with other arguments, an acknowledgement took too long) stays closed.
import type { Channel, ChannelModel } from 'amqplib';
import type { Logger } from 'pino';
import { backoff, isLogged } from '../../runtime/backoff.ts';
import type { Health } from '../../runtime/health.ts';
import { reasonOf } from '../../runtime/reason.ts';
import type { Connection } from './connection.ts';

const RETRY_BASE_MS = 100;
const RETRY_MAX_MS = 5_000;

export interface ResilientChannelOptions<C extends Channel> {
  readonly connection: Connection;
  /** The purpose of the channel, for the log. */
  readonly name: string;
  readonly open: (model: ChannelModel) => Promise<C>;
  /**
   * Prepares a new channel, each time one is opened. If it rejects, or calls `lose` at any later time, the channel is
   * closed and another one opened.
   */
  readonly setUp: (channel: C, lose: (reason: string) => void) => Promise<void>;
  /** Called when a channel is set up and `current`. */
  readonly onReady?: () => void;
  readonly log: Logger;
}

export class ResilientChannel<C extends Channel> {
  readonly #options: ResilientChannelOptions<C>;
  #current: C | undefined;
  /** The attempt to open the channel and set it up; `abandoned` ends its wait for the broker's replies. */
  #attempt: { model: ChannelModel | undefined; ended: Promise<void>; abandoned: AbortController } | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #failures = 0;
  #readyAt = 0;
  #lastError = 'not opened yet';
  #retired = false;

  constructor(options: ResilientChannelOptions<C>) {
    this.#options = options;
    options.connection.on('change', this.#connectionChanged);
    void this.#try();
  }

  /** The open channel, set up; undefined while there is none. */
  get current(): C | undefined {
    return this.#current;
  }

  health(): Health {
    const connection = this.#options.connection.health();
    if (connection.status !== 'up' || this.#current) return connection;
    return { status: 'down', detail: 'no channel to the broker' };
  }

  /** Resolves when the current attempt to open the channel, if any, has succeeded or failed. */
  async settled(): Promise<void> {
    await this.#attempt?.ended;
  }

  /**
   * Replaces the channel, or the current attempt to open one. Resolves when the first attempt to open the new one has
   * succeeded or failed; further attempts follow.
   */
  async renew(reason: string): Promise<void> {
    const { connection, name, log } = this.#options;
    const channel = this.#release(reason);
    this.#abandonAttempt();
    if (channel) {
      log.warn({ channel: name, reason }, 'renewing the channel');
      // The close is sent before the open: when the broker confirms one of them, it has read everything that was sent
      // on the old channel.
      await connection.closeChannel(channel);
    }
    await this.#try();
  }

  /** Opens no more channels; an open one stays open. */
  retire(): void {
    this.#retired = true;
    this.#options.connection.off('change', this.#connectionChanged);
    clearTimeout(this.#retryTimer);
    this.#abandonAttempt();
  }

  async close(): Promise<void> {
    this.retire();
    const channel = this.#release('closed');
    if (channel) await this.#options.connection.closeChannel(channel);
  }

  /** An attempt on a connection that has ended would only reach its deadline. */
  readonly #connectionChanged = (): void => {
    if (this.#attempt?.model !== this.#options.connection.model) this.#abandonAttempt();
    void this.#try();
  };

  #abandonAttempt(): void {
    this.#attempt?.abandoned.abort();
    this.#attempt = undefined;
  }

  #release(reason: string): C | undefined {
    const channel = this.#current;
    // After a channel that lasted for a while, the delays start again at the shortest one.
    if (channel && performance.now() - this.#readyAt > RETRY_MAX_MS) this.#failures = 0;
    this.#current = undefined;
    this.#lastError = reason;
    return channel;
  }

  /** Never rejects: another attempt follows one that fails. */
  #try(): Promise<void> {
    clearTimeout(this.#retryTimer);
    if (this.#attempt) return this.#attempt.ended;
    const abandoned = new AbortController();
    const ended = this.#open(abandoned.signal).finally(() => {
      if (this.#attempt?.ended === ended) this.#attempt = undefined;
    });
    this.#attempt = { model: this.#options.connection.model, ended, abandoned };
    return ended;
  }

  async #open(abandoned: AbortSignal): Promise<void> {
    const { connection, name, open, setUp, onReady, log } = this.#options;
    // Without a connection there is no attempt: #connectionChanged() makes it later.
    if (!connection.model || this.#current || this.#retired) return;
    let channel: C | undefined;
    let lost = false;
    try {
      const opened = await connection.openChannel(open, abandoned);
      channel = opened;
      opened.on('error', (error) => {
        this.#lastError = error.message;
      });
      const lose = (reason: string) => {
        if (lost) return;
        lost = true;
        this.#lastError = reason;
        if (this.#current !== opened) return;
        this.#release(reason);
        this.#retryLater();
      };
      // Before amqplib's own listener, whose confirm callbacks must find the channel gone.
      opened.prependListener('close', () => lose(this.#lastError));
      const ready = setUp(opened, (reason) => {
        lose(reason);
        void connection.closeChannel(opened);
      });
      await connection.withDeadline(ready, connection.declareTimeoutMs, abandoned);
      if (lost) throw new Error(this.#lastError);
      this.#current = opened;
      this.#readyAt = performance.now();
      this.#lastError = 'channel closed';
      log.debug({ channel: name }, 'channel open');
      onReady?.();
    } catch (error) {
      // Without await: a channel that hangs does not close either.
      if (channel) void connection.closeChannel(channel);
      if (abandoned.aborted) return;
      this.#lastError = reasonOf(error);
      this.#retryLater();
    }
  }

  #retryLater(): void {
    const { connection, name, log } = this.#options;
    if (this.#retired) return;
    this.#failures++;
    const delayMs = backoff(this.#failures, RETRY_BASE_MS, RETRY_MAX_MS);
    this.#retryTimer = setTimeout(() => {
      // A channel that was lost with its connection needs no line of its own.
      if (connection.model && isLogged(this.#failures))
        log.warn({ channel: name, reason: this.#lastError }, 'channel lost, opening another one');
      void this.#try();
    }, delayMs);
  }
}
