// One PostgreSQL connection that listens for the notifications of all queues and reconnects by itself.
import pg from 'pg';
import type { Logger } from 'pino';
import { backoff } from '../runtime/backoff.ts';
import { JOBS_CHANNEL } from './sql-backend.ts';

const RECONNECT_BASE_MS = 100;
const RECONNECT_MAX_MS = 1_000;
/** A connection whose peer is gone looks open. A probe detects that within this and the query timeout. */
const PROBE_EVERY_MS = 5_000;

export class NotificationListener {
  readonly #settings: pg.ClientConfig;
  readonly #wake: (queueName?: string) => void;
  readonly #log: Logger;
  #client: pg.Client | undefined;
  #reconnectTimer: NodeJS.Timeout | undefined;
  #probeTimer: NodeJS.Timeout | undefined;
  #failures = 0;
  #stopped = false;
  #connecting: Promise<void> | undefined;

  /**
   * Calls `wake` with a queue that has new jobs, and without a name after each connect, when notifications may have been
   * missed.
   */
  constructor(settings: pg.ClientConfig, wake: (queueName?: string) => void, log: Logger) {
    this.#settings = settings;
    this.#wake = wake;
    this.#log = log;
  }

  get connected(): boolean {
    return this.#client !== undefined;
  }

  /** Rejects if this connection fails; one that is lost later is replaced. */
  async connect(): Promise<void> {
    const client = new pg.Client(this.#settings);
    client.on('notification', ({ payload }) => {
      if (payload) this.#wake(payload);
    });
    client.on('error', (error) => this.#lost(client, error));
    client.on('end', () => this.#lost(client));
    try {
      await client.connect();
      await client.query(`LISTEN ${JOBS_CHANNEL}`);
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
    this.#client = client;
    const probe = () => client.query('SELECT 1').catch((error: Error) => this.#lost(client, error));
    this.#probeTimer = setInterval(() => void probe(), PROBE_EVERY_MS);
    this.#failures = 0;
    this.#wake();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#reconnectTimer);
    await this.#connecting;
    clearInterval(this.#probeTimer);
    await this.#client?.end();
  }

  /** Does nothing for a client that is not connected yet or was lost before. */
  #lost(client: pg.Client, error?: Error): void {
    if (this.#stopped || client !== this.#client) return;
    this.#client = undefined;
    clearInterval(this.#probeTimer);
    this.#log.warn({ error: error?.message }, 'the database of the queues is away');
    client.end().catch(() => undefined);
    this.#reconnect();
  }

  #reconnect(): void {
    if (this.#stopped) return;
    this.#failures++;
    const connect = () => {
      this.#connecting = this.connect().then(
        () => this.#log.info('the database of the queues is back'),
        () => this.#reconnect(),
      );
    };
    this.#reconnectTimer = setTimeout(connect, backoff(this.#failures, RECONNECT_BASE_MS, RECONNECT_MAX_MS));
  }
}
