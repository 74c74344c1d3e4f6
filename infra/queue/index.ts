// Opens the server of the paced queues: Redis if it is configured, otherwise the database.
import type { Logger } from 'pino';
import type { Database } from '../database/port.ts';
import { within } from '../runtime/promises.ts';
import type { Backend } from './backend.ts';
import { PgliteBackend, PostgresBackend } from './database.ts';
import { BullPacedQueue } from './paced-queue.ts';
import type { PacedQueues } from './port.ts';
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
  /** Whether to bring the schema of a database up to date; otherwise it is only checked. Default: true. */
  readonly migrate?: boolean;
  /** Aborted when a stop begins: calls then fail if the server is away or does not respond within a second. */
  readonly stopping?: AbortSignal;
  readonly log: Logger;
}

/**
 * Rejects if the database does not respond, with UnsuitableDatabase if its schema or rights do not suffice, and with a
 * StartupError if Redis responds and can never hold the queues; Redis may be away. Safe when several processes open at
 * once.
 */
export async function openQueues({
  on,
  prefix,
  migrate = true,
  stopping,
  log,
}: OpenQueuesOptions): Promise<PacedQueues> {
  const backend = backendOf(on, prefix, log);
  stopping?.addEventListener('abort', () => backend.interrupt());
  try {
    await backend.start({ migrate });
  } catch (error) {
    await backend.close();
    throw error;
  }
  let closing: Promise<void> | undefined;
  return {
    kind: backend.kind,
    shared: backend.shared,
    async open(queue) {
      assertName(queue.name);
      if (!(queue.perSecond >= 1 && queue.perSecond <= 10_000))
        throw new RangeError(`a queue's rate is 1 to 10,000 per second, not ${queue.perSecond}`);
      return BullPacedQueue.open(backend, queue, log);
    },
    async remove(name) {
      assertName(name);
      backend.assertReachable();
      await within(REMOVE_MS, backend.remove(name)); // BullMQ waits for a server that goes away meanwhile
    },
    health: () => backend.health(),
    canWork: () => backend.canWork(),
    close() {
      closing ??= backend.close();
      return closing;
    },
  };
}

function backendOf(on: OpenQueuesOptions['on'], prefix: string, log: Logger): Backend {
  if ('redisUrl' in on) return new RedisBackend(on.redisUrl, prefix, log);
  if ('pglite' in on) return new PgliteBackend(on.pglite, prefix, log);
  return new PostgresBackend(on.postgresUrl, on.database, prefix, log);
}

function assertName(name: string): void {
  if (!/^[A-Za-z0-9_-]{1,60}$/.test(name)) throw new RangeError(`a queue cannot be named ${name}`);
}
