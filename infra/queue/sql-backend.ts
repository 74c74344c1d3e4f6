// BullMQ's queues in a database. Only one process drains a queue at a time, because BullMQ takes locks and windows by
// the worker's clock there.
import { createPostgresBackend, Queue, Worker } from 'bullmq';
import type { Health } from '../runtime/health.ts';
import type { Backend, Connections, WorkerSettings } from './backend.ts';
import { withinGrace } from './job-runner.ts';
import { type RunStatement, SqlPool } from './sql-pool.ts';

/** Approximate number of events that BullMQ keeps per queue; they are not used. */
const KEPT_EVENTS = 100;

export abstract class SqlBackend implements Backend {
  abstract readonly kind: Backend['kind'];
  readonly shared = false;
  abstract readonly concurrentClaims: number;
  /** Whether additions of this process come back as notifications. */
  protected abstract readonly notifies: boolean;
  protected abstract readonly run: RunStatement;
  readonly #prefix: string;
  /** The workers' pools, by the queue's full name. */
  readonly #pools = new Map<string, SqlPool>();

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  abstract start(): Promise<void>;
  abstract health(): Health;
  abstract close(): Promise<void>;

  /** Wakes the worker of a queue that may have new jobs; without a name, all workers. */
  protected wake(fullName?: string): void {
    if (fullName !== undefined) this.#pools.get(fullName)?.wake(fullName);
    else for (const [name, pool] of this.#pools) pool.wake(name);
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
        if (!this.notifies) pool.wake(fullName);
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
    const { status, detail } = this.health();
    if (status === 'down') throw new Error(detail);
  }

  /** Does nothing: the pool replaces a dead connection after the query timeout. */
  renewConnection(): void {}

  #newPool(): SqlPool {
    return new SqlPool(this.run);
  }

  /** All systems share one schema, so the prefix is a part of the name. */
  #fullName(name: string): string {
    return `${this.#prefix}.${name}`;
  }
}
