// Keeps one channel open. amqplib's recovery ends at the connection: a channel that the broker closes (something is
// missing or was declared otherwise, an acknowledgement took too long) stays closed.
import type { Channel, ChannelModel } from 'amqplib';
import type { Logger } from 'pino';
import { backoff, isLogged } from '../../runtime/backoff.ts';
import type { Health } from '../../runtime/health.ts';
import type { Connection } from './connection.ts';
import { answerOf, closeChannel, declaringMs, openChannel } from './deadlines.ts';

const RETRY_BASE_MS = 100;
const RETRY_MAX_MS = 5_000;

export interface KeptChannelOptions<C extends Channel> {
  readonly connection: Connection;
  /** What the channel is for, in logs. */
  readonly name: string;
  readonly open: (model: ChannelModel) => Promise<C>;
  /**
   * Makes a new channel usable. Runs again on every renewal; rejecting closes the channel, and another is tried. So does
   * calling `lose`, at any time after.
   */
  readonly setUp: (channel: C, lose: (reason: string) => void) => Promise<void>;
  /** The channel is set up and now `current`. */
  readonly onReady?: () => void;
  readonly log: Logger;
}

/** One attempt to open the channel and set it up. */
interface Attempt {
  readonly model: ChannelModel | undefined;
  readonly ended: Promise<void>;
  /** Leaves it to itself: what the broker still answers is of no interest. */
  readonly abandon: () => void;
}

export class KeptChannel<C extends Channel> {
  readonly #options: KeptChannelOptions<C>;
  readonly #endWatch: () => void;
  #current: C | undefined;
  #attempt: Attempt | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #failures = 0;
  #readyAt = 0;
  #trouble = 'not opened yet';
  #retired = false;

  constructor(options: KeptChannelOptions<C>) {
    this.#options = options;
    this.#endWatch = options.connection.onChange(() => this.#connectionChanged());
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
    await this.#attempt?.ended;
  }

  /**
   * Closes the channel, or gives up the attempt to open it, and opens another one. Resolves when that has succeeded or
   * failed; it is then tried again.
   */
  async renew(reason: string): Promise<void> {
    const { connection, name, log } = this.#options;
    const channel = this.#release(reason);
    this.#abandonAttempt();
    if (channel) {
      log.warn({ channel: name, reason }, 'renewing the channel');
      // One after the other: a broker that confirms the close, or else the next open, has read all that was buffered.
      await closeChannel(connection, channel);
    }
    await this.#try();
  }

  /** From now on a lost channel stays lost, and one that is not open yet is not opened. */
  retire(): void {
    this.#retired = true;
    this.#endWatch();
    clearTimeout(this.#retryTimer);
    this.#abandonAttempt();
  }

  async close(): Promise<void> {
    this.retire();
    const channel = this.#release('closed');
    if (channel) await closeChannel(this.#options.connection, channel);
  }

  /** An attempt on a connection that has ended would only wait for its deadline. */
  #connectionChanged(): void {
    if (this.#attempt?.model !== this.#options.connection.model()) this.#abandonAttempt();
    void this.#try();
  }

  #abandonAttempt(): void {
    this.#attempt?.abandon();
    this.#attempt = undefined;
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
    this.#attempt ??= this.#begin();
    return this.#attempt.ended;
  }

  #begin(): Attempt {
    const abandoned = new AbortController();
    const model = this.#options.connection.model();
    const ended = this.#open(abandoned.signal).finally(() => {
      if (this.#attempt === attempt) this.#attempt = undefined;
    });
    const attempt = { model, ended, abandon: () => abandoned.abort() };
    return attempt;
  }

  async #open(abandoned: AbortSignal): Promise<void> {
    const { connection, name, open, setUp, onReady, log } = this.#options;
    // Without a connection there is nothing to try: the next one comes back here.
    if (!connection.model() || this.#current || this.#retired) return;
    let channel: C | undefined;
    let lost = false;
    try {
      const opened = await openChannel(connection, open, abandoned);
      channel = opened;
      opened.on('error', (error) => {
        this.#trouble = error.message;
      });
      const lose = (reason: string) => {
        if (lost) return;
        lost = true;
        this.#trouble = reason;
        if (this.#current !== opened) return;
        this.#release(reason);
        this.#retryLater();
      };
      // Before amqplib's own listener, so that confirm callbacks called from there find the channel gone.
      opened.prependListener('close', () => lose(this.#trouble));
      const ready = setUp(opened, (reason) => {
        lose(reason);
        void closeChannel(connection, opened);
      });
      await answerOf(connection, ready, { withinMs: declaringMs(connection), signal: abandoned });
      if (lost) throw new Error(this.#trouble);
      this.#current = opened;
      this.#readyAt = performance.now();
      this.#trouble = 'channel closed';
      log.debug({ channel: name }, 'channel open');
      onReady?.();
    } catch (error) {
      // Not waited for: a channel that hangs does not close either.
      if (channel) void closeChannel(connection, channel);
      if (abandoned.aborted) return;
      this.#trouble = error instanceof Error ? error.message : String(error);
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
