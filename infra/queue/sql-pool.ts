// The part of pg.Pool that BullMQ's PostgreSQL backend uses, on top of any function that runs a statement. All queues
// share connections, whereas BullMQ would keep one connection per worker for notifications of new jobs.
import { EventEmitter } from 'node:events';
import type { PgPool, PgPoolClient, PgQueryResult } from 'bullmq';

export type RunStatement = (text: string, params?: readonly unknown[]) => Promise<PgQueryResult>;

/** BullMQ's own schema, which its statements find by the search_path. */
export const SCHEMA = 'bullmq';

/** BullMQ notifies its workers on this channel, with the queue's name as the payload. */
export const JOBS_CHANNEL = 'bullmq_jobs';

/** For one queue or worker. Ending it does not end the connections. */
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

  /** Notifies the queue's worker that there may be new jobs. */
  wake(queueName: string): void {
    for (const client of this.#clients) client.emit('notification', { channel: JOBS_CHANNEL, payload: queueName });
  }
}

/** BullMQ borrows one to check its schema, and one for the life of a worker, for notifications. */
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
    // Both configure a connection, which this client does not have: notifications come by wake().
    if (/^\s*LISTEN\b/i.test(text) || text.includes("set_config('application_name'")) return { rows: [] };
    return this.#run(text, params);
  }

  release(): void {
    this.#onRelease();
  }
}
