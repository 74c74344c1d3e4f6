// Drains the sales that have queued tickets, and those that are about to open, or that opened or admitted a buyer
// recently: through a job queue for each of them, at the sale's own rate. Removes job queues that are no longer needed
// from the queue server, including those of processes that died. In this file, a queue is a job queue, not the queue of
// a sale's tickets.
import { setTimeout as delay } from 'node:timers/promises';
import { pollingLoop } from '../../infra/database/poll.ts';
import { DatabaseUnavailable } from '../../infra/database/port.ts';
import { ResilientLock } from '../../infra/database/resilient-lock.ts';
import { Loop } from '../../infra/runtime/loop.ts';
import { within } from '../../infra/runtime/promises.ts';
import { ThrottledLog } from '../../infra/runtime/throttled-log.ts';
import { CLOSE_MS, queueName, SaleJobQueue, type SaleJobQueueOptions } from './sale-job-queue.ts';
import { listDrainable, listObsoleteJobQueues, markJobQueueRemoved, NEXT_OPENING } from './store/queue.ts';

/** Held by the process that drains, if only one may. */
const LOCK = 'sluice flash-sale drain';
/** Delay until sales and tickets of other processes are noticed; those of this process wake the loop. */
const POLL_MS = 250;
/** Minimum interval between two turns, because adding five jobs costs as much as adding fifty. */
const MIN_TURN_MS = 100;
/** Queues in one process, each with a connection or two. Sales with queued tickets come first. */
const MAX_QUEUES = 100;
const REMOVE_EVERY_MS = 5_000;
/** Queues removed in one turn. */
const MAX_REMOVED = 20;

export class Drain {
  readonly #options: SaleJobQueueOptions;
  readonly #log: ThrottledLog;
  readonly #loop: Loop;
  readonly #removal: Loop;
  readonly #removalLog: ThrottledLog;
  /** Unset if several processes may drain at a time. */
  readonly #lock: ResilientLock | undefined;
  /** The queue of each sale in the last list, by the sale's id, even if it could not be opened. */
  readonly #queues = new Map<string, SaleJobQueue>();
  /**
   * Sales whose queues this process closed and did not remove. If several processes drain, each removes every queue
   * that it closed, because another process may have written to the queue after its first removal.
   */
  readonly #closed = new Set<string>();
  #closing: Promise<void> | undefined;
  #lastTurnAt = 0;

  constructor(options: SaleJobQueueOptions) {
    this.#options = options;
    const { database, queues, log } = options;
    this.#log = new ThrottledLog(log);
    this.#removalLog = new ThrottledLog(log);
    const onLost = () => this.#onLockLost();
    this.#lock = queues.shared ? undefined : new ResilientLock({ database, name: LOCK, onLost, log });
    this.#loop = pollingLoop({
      name: 'drain',
      everyMs: POLL_MS,
      database,
      nextDue: NEXT_OPENING,
      log,
      turn: () => this.#turn(),
    });
    this.#removal = new Loop({
      name: 'remove queues',
      everyMs: REMOVE_EVERY_MS,
      log,
      turn: () => this.#removeQueues(),
    });
  }

  start(): void {
    this.#loop.start();
    this.#removal.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#loop.stop(), this.#removal.stop()]);
    await this.#closeAll();
    await this.#closing;
    await this.#lock?.release();
  }

  /** False while the tickets of a sale stay queued although its job queue was reopened. */
  get healthy(): boolean {
    return [...this.#queues.values()].every(({ stall }) => stall.healthy);
  }

  /** A sale was created or tickets were committed. */
  wake(): void {
    this.#loop.wake();
  }

  async #turn(): Promise<boolean> {
    await delay(Math.max(0, this.#lastTurnAt + MIN_TURN_MS - performance.now()));
    this.#lastTurnAt = performance.now();
    if (this.#lock && !this.#lock.held) {
      await this.#closeAll(); // the lock may have been lost since the last turn
      if (!(await this.#lock.tryAcquire())) return false;
      this.#removal.wake();
    }
    const sales = await listDrainable(this.#options.database, MAX_QUEUES).catch((error) => {
      // The time without a database does not count as a stall.
      if (error instanceof DatabaseUnavailable) for (const { stall } of this.#queues.values()) stall.reset();
      throw error;
    });
    await this.#closeOthers(new Set(sales.map(({ id }) => id)));
    const mayHaveMore = await settleAll(
      sales,
      (sale) => {
        const queue = this.#queues.get(sale.id) ?? new SaleJobQueue(this.#options, this.#lock, sale);
        this.#queues.set(sale.id, queue);
        return queue.fill(sale);
      },
      (failed) => this.#log.warn(failed, 'queues not filled, trying again'),
    );
    return mayHaveMore.some(Boolean);
  }

  /** Closes the queues of sales that are over or quiet. All at once, because each may have to wait for a time-out. */
  async #closeOthers(needed: ReadonlySet<string>): Promise<void> {
    const others = [...this.#queues].filter(([saleId]) => !needed.has(saleId));
    await Promise.all(
      others.map(async ([saleId, queue]) => {
        this.#queues.delete(saleId);
        if (!queue.isOpen) return;
        await within(CLOSE_MS, queue.close()).catch((error) =>
          this.#log.warn({ sale: saleId, error: String(error) }, 'a queue that is no longer needed does not close'),
        );
        this.#closed.add(saleId);
        this.#removal.wake();
      }),
    );
  }

  async #removeQueues(): Promise<boolean> {
    if (this.#lock && !this.#lock.held) return false;
    const closed = [...this.#closed];
    const obsolete = await listObsoleteJobQueues(this.#options.database, closed, MAX_REMOVED);
    await settleAll(
      obsolete,
      (saleId) => this.#removeQueue(saleId),
      (failed) => this.#removalLog.warn(failed, 'queues not removed, trying again'),
    );
    if (obsolete.length === MAX_REMOVED) return true;
    for (const id of closed) if (!obsolete.includes(id)) this.#closed.delete(id); // the sale needs its queue again
    return false;
  }

  /** A job that is added meanwhile is lost, and added again later. */
  async #removeQueue(saleId: string): Promise<void> {
    if (this.#queues.get(saleId)?.isOpen) return; // the drain closes it first
    this.#lock?.assertHeld();
    await this.#options.queues.remove(queueName(saleId));
    this.#lock?.assertHeld();
    await markJobQueueRemoved(this.#options.database, saleId);
    this.#closed.delete(saleId);
  }

  /** Another process will drain soon. The turn under way may hang, so the queues close now. */
  #onLockLost(): void {
    this.#closing = this.#closeAll().catch((error) =>
      this.#options.log.warn({ error: String(error) }, 'queues not closed'),
    );
    this.wake();
  }

  async #closeAll(): Promise<void> {
    const queues = [...this.#queues.values()];
    this.#queues.clear();
    await Promise.all(queues.map((queue) => queue.close()));
  }
}

/**
 * Does `work` for all sales concurrently and waits for all of them, so one that fails does not stop the others. Rejects
 * if all fail; if some fail, calls `warn` and resolves with the results of the others.
 */
async function settleAll<T, R>(
  sales: readonly T[],
  work: (sale: T) => Promise<R>,
  warn: (failed: object) => void,
): Promise<R[]> {
  const results = await Promise.allSettled(sales.map(work));
  const failed = results.filter((result) => result.status === 'rejected');
  if (failed[0]) {
    if (failed.length === sales.length) throw failed[0].reason;
    warn({ sales: failed.length, error: String(failed[0].reason) });
  }
  return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
}
