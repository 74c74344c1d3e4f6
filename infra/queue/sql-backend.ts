// BullMQ's queues in a database. Only one process drains a queue at a time, because BullMQ takes locks and windows by
// the worker's clock there.
import { createPostgresBackend, Queue, Worker } from 'bullmq';
import type { Health } from '../runtime/health.ts';
import type { Backend, Connections, WorkerSettings } from './backend.ts';
import { withinGrace } from './job-runner.ts';
import { type RunStatement, SqlPool } from './sql-pool.ts';

/** Approximate number of events that BullMQ keeps per queue; they are not used. */
const KEPT_EVENTS = 100;

export interface SqlServer {
  readonly kind: 'postgres' | 'pglite';
  readonly run: RunStatement;
  /** Whether additions of this process come back as notifications. */
  readonly notifies: boolean;
  readonly concurrentClaims: number;
  /**
   * `onJobs` is called when a queue may have new jobs; without a name, when any queue may. Rejects if the server is
   * away.
   */
  start(onJobs: (queueName?: string) => void): Promise<void>;
  health(): Health;
  close(): Promise<void>;
}

export class SqlBackend implements Backend {
  readonly kind: SqlServer['kind'];
  readonly shared = false;
  readonly concurrentClaims: number;
  readonly #server: SqlServer;
  readonly #prefix: string;
  /** The workers' pools, by the queue's full name. */
  readonly #pools = new Map<string, SqlPool>();

  constructor(server: SqlServer, prefix: string) {
    this.kind = server.kind;
    this.concurrentClaims = server.concurrentClaims;
    this.#server = server;
    this.#prefix = prefix;
  }

  start(): Promise<void> {
    return this.#server.start((queueName) => {
      if (queueName !== undefined) this.#pools.get(queueName)?.wake(queueName);
      else for (const [name, pool] of this.#pools) pool.wake(name);
    });
  }

  now(): number {
    return Date.now();
  }

  open(name: string, settings: WorkerSettings): Connections {
    const fullName = this.#fullName(name);
    const pool = this.#newPool();
    this.#pools.set(fullName, pool);
    const queueOptions = { connection: this.#newPool(), streams: { events: { maxLen: KEPT_EVENTS } } };
    const workerOptions = { ...settings, connection: pool, autorun: false };
    return {
      queue: new Queue(fullName, queueOptions, createPostgresBackend),
      worker: new Worker(fullName, null, workerOptions, createPostgresBackend),
      wake: () => {
        if (!this.#server.notifies) pool.wake(fullName);
      },
      sever: () => {
        if (this.#pools.get(fullName) === pool) this.#pools.delete(fullName);
      },
    };
  }

  async remove(name: string): Promise<void> {
    // With metadata the queue would write its settings beside the rows that are removed.
    const options = { connection: this.#newPool(), skipMetasUpdate: true };
    const queue = new Queue(this.#fullName(name), options, createPostgresBackend);
    queue.on('error', () => undefined); // the calls below reject with it
    try {
      await queue.obliterate({ force: true });
    } finally {
      await withinGrace(queue.close());
    }
  }

  assertReachable(): void {
    const { status, detail } = this.#server.health();
    if (status === 'down') throw new Error(detail);
  }

  /** The server's connections are probed by themselves. */
  renewConnection(): void {}

  health(): Health {
    return this.#server.health();
  }

  close(): Promise<void> {
    return this.#server.close();
  }

  #newPool(): SqlPool {
    return new SqlPool(this.#server.run);
  }

  /** All systems share one schema, so the prefix is a part of the name. */
  #fullName(name: string): string {
    return `${this.#prefix}.${name}`;
  }
}
