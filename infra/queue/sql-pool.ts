// What BullMQ's PostgreSQL backend asks of pg.Pool, over whatever runs a statement. Its queues share the connections:
// BullMQ itself would keep one connection of the pool for each worker, to be notified of new jobs.
import { EventEmitter } from 'node:events';
import type { PgPool, PgPoolClient, PgQueryResult } from 'bullmq';

export type RunStatement = (text: string, params?: readonly unknown[]) => Promise<PgQueryResult>;

/** The schema that BullMQ's statements find by the search_path, and that nothing of ours is in. */
export const SCHEMA = 'bullmq';

/** The channel on which BullMQ notifies its workers, with the queue's name as the payload. */
export const JOBS_CHANNEL = 'bullmq_jobs';

/** For one queue or worker; ending it leaves the connections alone. */
export class SqlPool extends EventEmitter implements PgPool {
  readonly #run: RunStatement;
  readonly #clients = new Set<Client>();

  constructor(run: RunStatement) {
    super();
    this.#run = run;
  }

  // The type of a row is BullMQ's assertion, as with pg.
  // biome-ignore lint/suspicious/noExplicitAny: as in the interface
  query<R = any>(text: string, params?: readonly unknown[]): Promise<PgQueryResult<R>> {
    return this.#run(text, params);
  }

  async connect(): Promise<PgPoolClient> {
    const client = new Client(this.#run, () => this.#clients.delete(client));
    this.#clients.add(client);
    return client;
  }

  async end(): Promise<void> {}

  /** There may be new jobs. */
  wake(queueName: string): void {
    for (const client of this.#clients) client.emit('notification', { channel: JOBS_CHANNEL, payload: queueName });
  }
}

/** BullMQ borrows one to check its schema, and one for as long as the worker lives, to be notified. */
class Client extends EventEmitter implements PgPoolClient {
  readonly #run: RunStatement;
  readonly #onRelease: () => void;

  constructor(run: RunStatement, onRelease: () => void) {
    super();
    this.#run = run;
    this.#onRelease = onRelease;
  }

  // biome-ignore lint/suspicious/noExplicitAny: as in the interface
  async query<R = any>(text: string, params?: readonly unknown[]): Promise<PgQueryResult<R>> {
    // Both concern a connection that this one does not have: notifications come by wake().
    if (/^\s*LISTEN\b/i.test(text) || text.includes("set_config('application_name'")) return { rows: [] };
    return this.#run(text, params);
  }

  release(): void {
    this.#onRelease();
  }
}
