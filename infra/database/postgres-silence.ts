// The connections of a process to PostgreSQL, so that a stop need not wait for a server that no longer responds. pg
// itself ends a connection only with the server's help, and a statement only with its response.
import type { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';

/** How long a server may take to respond while this process stops. */
const SILENT_MS = 1_000;
/** How long it may take to confirm the end of a connection. */
const END_MS = 500;

export class OpenConnections {
  /** Those that connect or are connected. */
  readonly #open = new Set<pg.Client>();
  /** Statements that ended. A pooler in between announces that it is ready on its own, but ends no statement. */
  #responses = 0;
  #probing: Promise<void> | undefined;
  #closed = false;
  #severed = false;

  /** Severs the client with all others. */
  track(client: pg.Client): void {
    this.#open.add(client);
    client.once('end', () => this.#open.delete(client));
    connectionOf(client).on('commandComplete', () => this.#responses++);
    if (this.#severed) setImmediate(() => socketOf(client).destroy()); // once it connects
  }

  /**
   * For a stop: from now on, severs all connections if the server does not respond for SILENT_MS, to a new connection
   * or to any statement. What waits for it then rejects, as when the connections break.
   */
  interrupt(createClient: () => pg.Client): void {
    this.#probing ??= this.#probe(createClient);
  }

  /** Resolves when the pools have ended, with a deadline for the server. */
  async end(...pools: readonly pg.Pool[]): Promise<void> {
    this.#closed = true;
    const deadline = setTimeout(() => this.#sever(), END_MS);
    await Promise.all(pools.map((pool) => pool.end()));
    clearTimeout(deadline);
  }

  async #probe(createClient: () => pg.Client): Promise<void> {
    while (!this.#closed && !this.#severed) {
      const responses = this.#responses;
      const client = createClient();
      client.on('error', () => undefined); // the query rejects with it
      const deadline = setTimeout(() => socketOf(client).destroy(), SILENT_MS);
      const responds = await client
        .connect()
        .then(() => client.query('SELECT 1'))
        .then(
          () => true,
          (error: Error) => 'severity' in error || error.name === 'UnsuitableDatabase', // such as: no connection to spare
        );
      clearTimeout(deadline);
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

/** The types of pg lack it. It emits the messages of the server. */
const connectionOf = (client: pg.Client) =>
  (client as unknown as { connection: EventEmitter & { readonly stream: Duplex } }).connection;

const socketOf = (client: pg.Client) => connectionOf(client).stream;
