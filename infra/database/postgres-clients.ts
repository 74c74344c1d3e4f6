// The connections of a process to PostgreSQL, so that a stop need not wait for a server that no longer responds. pg
// itself ends a connection only with the server's help, and a statement only with its response.
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';

/** Why a statement rejects once the connections are severed. */
export const STOPPING = 'this process is stopping';

/** How long a server may take to respond while this process stops. */
const SILENT_MS = 1_000;
/** How long it may take to confirm the end of a connection. */
const END_MS = 500;

/** At most the connections of the pools that are made of it, and one for each lock. */
export class PostgresClients {
  readonly #settings: pg.ClientConfig;
  /** Those that connect or are connected. */
  readonly #open = new Set<pg.Client>();
  #responses = 0;
  #probing: Promise<void> | undefined;
  #closed = false;
  #severed = false;

  constructor(settings: pg.ClientConfig) {
    this.#settings = settings;
  }

  /** The server did not respond during a stop: every connection is severed, and no other one may be made. */
  get severed(): boolean {
    return this.#severed;
  }

  /** A client that is severed with all others. `settings` override those of all clients. */
  create(settings: pg.ClientConfig = {}): pg.Client {
    const client = new pg.Client({ ...this.#settings, ...settings });
    this.#open.add(client);
    client.once('end', () => this.#open.delete(client));
    if (this.#severed) setImmediate(() => socketOf(client).destroy()); // once it connects
    return client;
  }

  createPool(options: Pick<pg.PoolConfig, 'max' | 'options'>): pg.Pool {
    const create = (settings: pg.ClientConfig) => this.create(settings);
    // The pool calls it with `new`, whose result is the object that the function returns.
    const Client = function Client(settings: pg.ClientConfig) {
      return create(settings);
    } as unknown as typeof pg.Client;
    return new pg.Pool({ ...this.#settings, ...options, Client });
  }

  /** The server has responded to a statement. */
  responded(): void {
    this.#responses++;
  }

  /**
   * For a stop: from now on, severs all connections if the server does not respond for SILENT_MS, to a new connection
   * or to any statement. What waits for it then rejects, as when the connections break.
   */
  interrupt(): void {
    this.#probing ??= this.#probe();
  }

  /** Resolves when the pools have ended, with a deadline for the server. */
  async end(...pools: readonly pg.Pool[]): Promise<void> {
    this.#closed = true;
    const deadline = setTimeout(() => this.#sever(), END_MS);
    await Promise.all(pools.map((pool) => pool.end()));
    clearTimeout(deadline);
  }

  async #probe(): Promise<void> {
    while (!this.#closed && !this.#severed) {
      const responses = this.#responses;
      const client = this.create({ connectionTimeoutMillis: SILENT_MS, query_timeout: SILENT_MS });
      client.on('error', () => undefined); // the query rejects with it
      const responds = await client
        .connect()
        .then(() => client.query('SELECT 1'))
        .then(
          () => true,
          (error: object) => 'severity' in error, // it has no connection to spare, or is starting
        );
      socketOf(client).destroy();
      if (responds) await delay(SILENT_MS, undefined, { ref: false });
      else if (this.#responses === responses) this.#sever();
    }
  }

  #sever(): void {
    this.#severed = true;
    for (const client of this.#open) socketOf(client).destroy();
  }
}

const socketOf = (client: pg.Client) => (client as unknown as { connection: { stream: Duplex } }).connection.stream;
