// Opens the server of the paced queues: Redis if it is configured, otherwise the database.
import type { Logger } from 'pino';
import type { Database } from '../database/port.ts';
import type { Health } from '../runtime/health.ts';
import { within } from '../runtime/promises.ts';
import type { Backend } from './backend.ts';
import { PgliteBackend, PostgresBackend } from './database.ts';
import { BullPacedQueue } from './paced-queue.ts';
import type { PacedQueue, PacedQueueOptions, PacedQueues } from './port.ts';
import { RedisBackend } from './redis.ts';

/** How long a removal may take. */
const REMOVE_MS = 10_000;

export interface OpenQueuesOptions {
  /**
   * Redis or Valkey by its URL; PostgreSQL by its URL, for connections of the queues' own, and as the `database` whose
   * schema is migrated; or the open PGlite.
   */
  readonly on:
    | { readonly redisUrl: string }
    | { readonly postgresUrl: string; readonly database: Database }
    | { readonly pglite: Database };
  /** Separates the queues of several systems on one server. */
  readonly prefix: string;
  readonly log: Logger;
}

/** Rejects if the database does not answer; Redis may be away. Safe when several processes open at once. */
export async function openQueues(options: OpenQueuesOptions): Promise<PacedQueues> {
  const backend = backendOf(options);
  try {
    await backend.start();
  } catch (error) {
    await backend.close();
    throw error;
  }
  return new BullPacedQueues(backend, options.log);
}

function backendOf({ on, prefix, log }: OpenQueuesOptions): Backend {
  if ('redisUrl' in on) return new RedisBackend({ url: on.redisUrl, prefix, log });
  return 'pglite' in on ? new PgliteBackend(on.pglite, prefix, log) : new PostgresBackend({ ...on, prefix, log });
}

class BullPacedQueues implements PacedQueues {
  readonly kind: PacedQueues['kind'];
  readonly shared: boolean;
  readonly #backend: Backend;
  readonly #log: Logger;
  #closed: Promise<void> | undefined;

  constructor(backend: Backend, log: Logger) {
    this.kind = backend.kind;
    this.shared = backend.shared;
    this.#backend = backend;
    this.#log = log;
  }

  async open(options: PacedQueueOptions): Promise<PacedQueue> {
    assertName(options.name);
    if (!(options.perSecond >= 1 && options.perSecond <= 10_000))
      throw new RangeError(`a queue's pace is 1 to 10,000 per second, not ${options.perSecond}`);
    return BullPacedQueue.open(this.#backend, options, this.#log);
  }

  async remove(name: string): Promise<void> {
    assertName(name);
    this.#backend.assertReachable();
    await within(REMOVE_MS, this.#backend.remove(name)); // BullMQ waits for a server that goes away meanwhile
  }

  health(): Health {
    return this.#backend.health();
  }

  close(): Promise<void> {
    this.#closed ??= this.#backend.close();
    return this.#closed;
  }
}

function assertName(name: string): void {
  if (!/^[A-Za-z0-9_-]{1,60}$/.test(name)) throw new RangeError(`a queue cannot be named ${name}`);
}
