// Removes queues that are no longer needed from the queue server, including those of processes that died.
import type { Logger } from 'pino';
import type { Database } from '../../infra/database/port.ts';
import type { PacedQueues } from '../../infra/queue/port.ts';
import { Loop } from '../../infra/runtime/loop.ts';
import { ThrottledLog } from '../../infra/runtime/throttled-log.ts';
import type { DrainLock } from './drain-lock.ts';
import { queueName } from './sale-queue.ts';
import { settleAll } from './settle-all.ts';
import { listObsoleteQueues, markQueueRemoved } from './store/queue.ts';

const REMOVE_MS = 5_000;
/** Queues removed in one turn. */
const MAX_REMOVED = 20;

export interface QueueRemoverOptions {
  readonly database: Database;
  readonly queues: PacedQueues;
  /** Unset if several processes may drain at a time. */
  readonly lock: DrainLock | undefined;
  /** Whether this process drains the sale's queue now. */
  readonly isOpen: (saleId: string) => boolean;
  readonly log: Logger;
}

export class QueueRemover {
  readonly #options: QueueRemoverOptions;
  readonly #loop: Loop;
  readonly #log: ThrottledLog;
  /**
   * Sales whose queues this process closed and did not remove. If several processes drain, each removes every queue that
   * it closed: a queue that the first one removed may have been written to by the last one since.
   */
  readonly #closed = new Set<string>();

  constructor(options: QueueRemoverOptions) {
    this.#options = options;
    this.#log = new ThrottledLog(options.log);
    this.#loop = new Loop({
      name: 'remove queues',
      everyMs: REMOVE_MS,
      log: options.log,
      turn: () => this.#turn(),
    });
  }

  start(): void {
    this.#loop.start();
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  wake(): void {
    this.#loop.wake();
  }

  /** This process closed the queue of a sale that needs none any more. */
  onClosed(saleId: string): void {
    this.#closed.add(saleId);
    this.wake();
  }

  async #turn(): Promise<boolean> {
    const { database, lock } = this.#options;
    if (lock && !lock.held) return false;
    const closed = [...this.#closed];
    const obsolete = await listObsoleteQueues(database, closed, MAX_REMOVED);
    await settleAll(
      obsolete,
      (saleId) => this.#remove(saleId),
      (failed, reason) => this.#log.warn({ sales: failed, error: String(reason) }, 'queues not removed, trying again'),
    );
    if (obsolete.length === MAX_REMOVED) return true;
    for (const id of closed) if (!obsolete.includes(id)) this.#closed.delete(id); // the sale needs its queue again
    return false;
  }

  /** A job that is added meanwhile is lost, and added again later. */
  async #remove(saleId: string): Promise<void> {
    const { database, queues, lock, isOpen } = this.#options;
    if (isOpen(saleId)) return; // the drain closes it first
    lock?.assertHeld();
    await queues.remove(queueName(saleId));
    lock?.assertHeld();
    await markQueueRemoved(database, saleId);
    this.#closed.delete(saleId);
  }
}
