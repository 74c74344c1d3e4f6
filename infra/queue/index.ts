// Opens the server of the paced queues: Redis where it is named, else the database.
import type { Logger } from 'pino';
import type { Database } from '../database/port.ts';
import { within } from '../runtime/promises.ts';
import { pgliteBackend, postgresBackend } from './database.ts';
import { BullPacedQueue } from './paced-queue.ts';
import type { PacedQueues } from './port.ts';
import { redisBackend } from './redis.ts';

/** How long a removal may take. */
const REMOVE_MS = 10_000;

export interface OpenQueuesOptions {
  /**
   * Redis or Valkey, or PostgreSQL by its URL (through connections of its own; `database`, the same one, prepares the
   * schema), or the PGlite that is open already.
   */
  readonly on:
    | { readonly redisUrl: string }
    | { readonly postgresUrl: string; readonly database: Database }
    | { readonly pglite: Database };
  /** Keeps the queues of several systems on one server apart. */
  readonly prefix: string;
  readonly log: Logger;
}

/** Rejects when the database does not answer; Redis may come later. Safe when several processes open at once. */
export async function openQueues({ on, prefix, log }: OpenQueuesOptions): Promise<PacedQueues> {
  const backend = await ('redisUrl' in on
    ? redisBackend({ url: on.redisUrl, prefix, log })
    : 'postgresUrl' in on
      ? postgresBackend({ ...on, prefix, log })
      : pgliteBackend(on.pglite, prefix, log));
  let closed: Promise<void> | undefined;
  return {
    kind: backend.kind,
    shared: backend.shared,
    open: async (options) => {
      assertName(options.name);
      if (!(options.perSecond >= 1 && options.perSecond <= 10_000))
        throw new RangeError(`a queue's pace is 1 to 10,000 per second, not ${options.perSecond}`);
      return BullPacedQueue.open(backend, options, log);
    },
    remove: async (name) => {
      assertName(name);
      backend.assertReachable();
      await within(REMOVE_MS, backend.remove(name)); // BullMQ waits for a server that goes away meanwhile
    },
    health: backend.health,
    close: () => {
      closed ??= backend.close();
      return closed;
    },
  };
}

function assertName(name: string): void {
  if (!/^[A-Za-z0-9_-]{1,60}$/.test(name)) throw new RangeError(`a queue cannot be named ${name}`);
}
