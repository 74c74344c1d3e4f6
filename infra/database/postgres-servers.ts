// The servers of a DATABASE_URL, which may list several hosts of which one accepts writes.
import type pg from 'pg';
import { hostPort } from '../runtime/server-url.ts';
import { clientOptions } from './postgres-client.ts';
import { OpenConnections } from './postgres-silence.ts';
import type { PostgresServer } from './postgres-url.ts';

const CONNECT_TIMEOUT_MS = 5_000;

/** A host of a DATABASE_URL. */
export interface Server {
  /** For messages. */
  readonly name: string;
  readonly config: pg.ClientConfig;
  /** Whether a session of it was checked. */
  checked?: boolean;
}

/**
 * The hosts of a DATABASE_URL. All new connections go to one of them until it fails or rejects writes, and then to the
 * next one, in the order of the URL. Every server must accept writes, also with target_session_attrs=any.
 */
export class PostgresServers {
  /** Of the URL, for each session. */
  readonly settings: PostgresServer['settings'];
  readonly connectTimeoutMs: number;
  /** All connections to them. */
  readonly connections = new OpenConnections();
  readonly #servers: readonly Server[];
  #index = 0;

  /** `applicationName`: if the URL has none. */
  constructor(url: PostgresServer, applicationName: string) {
    this.connectTimeoutMs = url.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
    const defaults = { applicationName, connectTimeoutMs: this.connectTimeoutMs };
    this.#servers = url.hosts.map((host) => ({ name: hostPort(host), config: clientOptions(url, defaults, host) }));
    this.settings = url.settings;
  }

  get count(): number {
    return this.#servers.length;
  }

  get current(): Server {
    return this.#servers[this.#index] as Server;
  }

  /** Passes over `server`, if no other connection has done so. */
  skip(server: Server): void {
    if (server === this.current) this.#index = (this.#index + 1) % this.count;
  }
}
