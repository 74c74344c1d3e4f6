// Drains the sales that are open or have queued tickets: a queue for each of them, at the sale's own pace.
import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseUnavailable } from '../../infra/database/port.ts';
import { Loop } from '../../infra/runtime/loop.ts';
import { within } from '../../infra/runtime/promises.ts';
import { ThrottledLog } from '../../infra/runtime/throttled-log.ts';
import { DrainLock } from './drain-lock.ts';
import { QueueRemover } from './queue-remover.ts';
import { CLOSE_MS, SaleQueue, type SaleQueueOptions } from './sale-queue.ts';
import { settleAll } from './settle-all.ts';
import { listDrainable } from './store/queue.ts';

/** Delay until sales and tickets of other processes are noticed; those of this process wake the loop. */
const POLL_MS = 250;
/** Pause between two turns, however many tickets are committed: adding five jobs costs as much as adding fifty. */
const TURN_MS = 100;
/** Queues in one process, each with a connection or two. Sales with queued tickets come first. */
const MAX_QUEUES = 100;

export class Drain {
  readonly #options: SaleQueueOptions;
  readonly #log: ThrottledLog;
  readonly #loop: Loop;
  readonly #remover: QueueRemover;
  /** Unset if several processes may drain at a time. */
  readonly #lock: DrainLock | undefined;
  /** By sale; of every sale that was listed last, even if its queue cannot be opened. */
  readonly #queues = new Map<string, SaleQueue>();
  #closing: Promise<void> | undefined;
  #lastTurnAt = 0;

  constructor(options: SaleQueueOptions) {
    this.#options = options;
    const { database, queues, log } = options;
    this.#log = new ThrottledLog(log);
    this.#lock = queues.shared ? undefined : new DrainLock(database, () => this.#onLockLost(), log);
    this.#loop = new Loop({ name: 'drain', everyMs: POLL_MS, log, turn: () => this.#turn() });
    this.#remover = new QueueRemover({
      database,
      queues,
      lock: this.#lock,
      isOpen: (saleId) => this.#queues.get(saleId)?.isOpen ?? false,
      log,
    });
  }

  start(): void {
    this.#loop.start();
    this.#remover.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#loop.stop(), this.#remover.stop()]);
    await this.#closeAll();
    await this.#closing;
    await this.#lock?.release();
  }

  /** False while some sale's tickets do not leave its queue and reopening the queue did not help. */
  get healthy(): boolean {
    return [...this.#queues.values()].every(({ healthy }) => healthy);
  }

  /** A sale was created or tickets were committed. */
  wake(): void {
    this.#loop.wake();
  }

  async #turn(): Promise<boolean> {
    await delay(Math.max(0, this.#lastTurnAt + TURN_MS - performance.now()));
    this.#lastTurnAt = performance.now();
    if (this.#lock && !this.#lock.held) {
      await this.#closeAll(); // the lock may have been lost since the last turn
      if (!(await this.#lock.tryAcquire())) return false;
      this.#remover.wake();
    }
    const sales = await listDrainable(this.#options.database, MAX_QUEUES).catch((error) => {
      if (error instanceof DatabaseUnavailable) for (const queue of this.#queues.values()) queue.resetStall();
      throw error;
    });
    await this.#closeOthers(new Set(sales.map(({ id }) => id)));
    const mayHaveMore = await settleAll(
      sales,
      (sale) => {
        const queue = this.#queues.get(sale.id) ?? new SaleQueue(this.#options, this.#lock, sale);
        this.#queues.set(sale.id, queue);
        return queue.fill(sale);
      },
      (failed, reason) => this.#log.warn({ sales: failed, error: String(reason) }, 'queues not filled, trying again'),
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
        this.#remover.onClosed(saleId);
      }),
    );
  }

  /** Another process drains soon. The turn under way may hang, so the queues close now. */
  #onLockLost(): void {
    this.#closing = this.#closeAll().catch((error) =>
      this.#options.log.warn({ error: String(error) }, 'queues not closed'),
    );
    this.wake();
  }

  async #closeAll(): Promise<void> {
    const open = [...this.#queues.values()];
    this.#queues.clear();
    await Promise.all(open.map((queue) => queue.close()));
  }
}
