// Workers of a service announce themselves in its database, so that its web processes can tell whether a worker handles
// the messages.
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { Database, Queryable } from '../database/port.ts';
import { msBetween } from '../database/sql.ts';
import { Loop } from '../runtime/loop.ts';

const BEAT_EVERY_MS = 3_000;
/** A worker whose last heartbeat is older does not work: three of them are missing. */
const STALE_SECONDS = 10;
const ALIVE = `beat_at > now() - interval '${STALE_SECONDS} seconds'`;

export interface WorkerHeartbeatOptions {
  readonly database: Database;
  readonly schema: string;
  /** The state of this worker that web processes report, as JSON. */
  readonly state: () => { readonly status: string };
  readonly log: Logger;
}

export class WorkerHeartbeat {
  readonly #options: WorkerHeartbeatOptions;
  readonly #table: string;
  readonly #id = randomUUID();
  readonly #loop: Loop;

  constructor(options: WorkerHeartbeatOptions) {
    this.#options = options;
    this.#table = `${options.schema}.workers`;
    this.#loop = new Loop({ name: 'heartbeat', everyMs: BEAT_EVERY_MS, log: options.log, turn: () => this.#beat() });
  }

  start(): void {
    this.#loop.start();
  }

  /** Takes the worker off the list; if the database is away, its heartbeat becomes stale. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    const { database } = this.#options;
    await database.execute(`DELETE FROM ${this.#table} WHERE id = $1`, [this.#id]).catch(() => undefined);
  }

  /** Also forgets the workers that ended without stop(). */
  async #beat(): Promise<void> {
    const { database, state } = this.#options;
    await database.execute(
      `WITH forgotten AS (DELETE FROM ${this.#table} WHERE beat_at < now() - interval '1 hour')
       INSERT INTO ${this.#table} (id, state, beat_at) VALUES ($1, $2::json, now())
       ON CONFLICT (id) DO UPDATE SET state = excluded.state, beat_at = excluded.beat_at`,
      [this.#id, JSON.stringify(state())],
    );
  }
}

/** SQL of a row beside those of `placesOf`: the number of workers, and the age of their latest heartbeat. */
export const workersOf = (schema: string) =>
  `SELECT 'workers', count(*) FILTER (WHERE ${ALIVE}), ${msBetween('max(beat_at)', 'now()')} FROM ${schema}.workers`;

/**
 * The state of a worker of the service, the newest one and if possible one that is `up`; undefined if none works.
 * Rejects with DatabaseUnavailable.
 */
export async function readWorkerState<State extends object>(
  database: Queryable,
  schema: string,
): Promise<State | undefined> {
  const [row] = await database.query<{ state: State }>(
    `SELECT state FROM ${schema}.workers WHERE ${ALIVE}
     ORDER BY (state->>'status' = 'up') DESC, beat_at DESC LIMIT 1`,
  );
  return row?.state;
}
