// The job queue of one sale in this process: opened when needed, filled from the tickets, and reopened if it stalls.
//
// The sale's queue is its queued tickets, in the database. The job queue provides the rate, so it holds jobs for no more
// than a few seconds. Each ticket counts as enqueued for a limited time (`enqueued_until`) and gets another job
// afterwards if it is still queued: if the job queue loses everything, that costs seconds.
import type { ResilientLock } from '../../infra/database/resilient-lock.ts';
import type { PacedQueue, PacedQueues } from '../../infra/queue/port.ts';
import { within } from '../../infra/runtime/promises.ts';
import type { ServiceContext } from '../../infra/runtime/service.ts';
import { StallDetector } from '../../infra/runtime/stall-detector.ts';
import type { TicketAcceptance } from './accept-ticket.ts';
import { type DrainableSale, dequeue, dequeueAll, enqueue, markJobQueueOpened } from './store/queue.ts';

/** A job queue holds the jobs of this time, and AHEAD_EXTRA more. */
const AHEAD_SECONDS = 2;
const AHEAD_EXTRA = 20;
/** Jobs added in one turn. */
const MAX_ADDED = 5_000;
/** A ticket counts as enqueued for this long, or for this many times as long as a full job queue takes, if longer. */
const ENQUEUED_MS = 5_000;
const ENQUEUED_FACTOR = 1.5;
/** If no ticket leaves a sale's queue for this long, its job queue is reopened: BullMQ's workers may fall silent. */
const STALLED_MS = 10_000;
/** A job queue is never reopened before this many tickets should have left the sale's queue at its rate. */
const STALLED_TICKETS = 3;
/** How long to wait for a job queue to close; a job that hangs may keep it open for good. */
export const CLOSE_MS = 2_000;

export interface SaleJobQueueOptions extends Pick<ServiceContext<unknown>, 'database' | 'log'> {
  readonly queues: PacedQueues;
  readonly acceptance: TicketAcceptance;
  /** If no ticket leaves a sale's queue for this long, or for 10 s if that is shorter, its job queue is reopened. */
  readonly stalledAfterMs: number;
  /** A stalled job queue is being reopened. */
  readonly onRebuild: () => void;
}

export class SaleJobQueue {
  readonly #options: SaleJobQueueOptions;
  readonly #lock: ResilientLock | undefined;
  readonly #saleId: string;
  /** Not healthy while the tickets stay queued although the job queue was reopened. */
  readonly stall: StallDetector;
  readonly #closing = new Set<Promise<void>>();
  #queue: PacedQueue | undefined;

  /** `lock`: unset if several processes may drain at a time. */
  constructor(options: SaleJobQueueOptions, lock: ResilientLock | undefined, { id, drainPerSecond }: DrainableSale) {
    this.#options = options;
    this.#lock = lock;
    this.#saleId = id;
    this.stall = new StallDetector(
      Math.max(Math.min(STALLED_MS, options.stalledAfterMs), (STALLED_TICKETS * 1_000) / drainPerSecond),
    );
  }

  get isOpen(): boolean {
    return this.#queue !== undefined;
  }

  /** Adds jobs for the tickets at the head of the sale's queue that need them. Resolves with whether more may need one. */
  async fill(sale: DrainableSale): Promise<boolean> {
    try {
      return await this.#fill(sale);
    } catch (error) {
      this.stall.reset(); // a fault that is reported is no silence
      throw error;
    }
  }

  async #fill(sale: DrainableSale): Promise<boolean> {
    const { database } = this.#options;
    if (this.#isStalled(sale)) await this.#drop(sale.queued);
    const queue = this.#queue ?? (await this.#open(sale.drainPerSecond));
    if (sale.queued === 0) return false;
    const headCount = Math.min(MAX_ADDED, AHEAD_EXTRA + AHEAD_SECONDS * sale.drainPerSecond);
    const forMs = Math.max(ENQUEUED_MS, ENQUEUED_FACTOR * (headCount / sale.drainPerSecond) * 1_000);
    const ticketIds = await enqueue(database, this.#saleId, { headCount, forMs });
    if (ticketIds.length === 0) return false;
    try {
      await queue.add(ticketIds);
    } catch (error) {
      // The queue server is away: purchases are still decided, and their tickets wait in the table.
      await dequeue(database, ticketIds);
      throw error;
    }
    return ticketIds.length === MAX_ADDED;
  }

  /** Waits for running jobs. */
  async close(): Promise<void> {
    if (this.#queue) void this.#beginClose(this.#queue);
    await Promise.all(this.#closing);
  }

  /** Whether tickets wait and none has left the sale's queue for too long, at any process. */
  #isStalled({ queued, processed }: DrainableSale): boolean {
    // While the queue server is away, or rejects the work, there can be no progress, and reopening the job queue or restarting
    // the process would not help.
    const canProgress = this.#options.queues.canWork() && !this.#queue?.isRejected;
    return this.stall.check(canProgress ? queued : undefined, processed);
  }

  /** Closes a stalled job queue; the tickets are enqueued again in the next one. */
  async #drop(queued: number): Promise<void> {
    const { database, onRebuild, log } = this.#options;
    log.warn({ sale: this.#saleId, queued, rebuilds: this.stall.rebuilds }, 'job queue stalled, reopening it');
    onRebuild();
    if (this.#queue) {
      await within(CLOSE_MS, this.#beginClose(this.#queue)).catch((error) =>
        log.warn({ sale: this.#saleId, error: String(error) }, 'a job of the stalled job queue hangs'),
      );
    }
    await dequeueAll(database, this.#saleId);
  }

  #beginClose(queue: PacedQueue): Promise<void> {
    this.#queue = undefined;
    const closing = queue.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
    return closing;
  }

  async #open(perSecond: number): Promise<PacedQueue> {
    const { database, queues, acceptance, log } = this.#options;
    await markJobQueueOpened(database, this.#saleId);
    this.#lock?.assertHeld();
    const queue = await queues.open({
      name: queueName(this.#saleId),
      perSecond,
      work: (ticketId) => acceptance.accept(ticketId),
      onLastFailure: (ticketId, error) => {
        acceptance
          .onFailed(ticketId, error)
          .catch((cause) =>
            log.warn(
              { ticket: ticketId, error: String(cause) },
              "the failure of a ticket's job was not recorded; the ticket stays queued and gets a new job",
            ),
          );
      },
      // The last process that drained alone may have died in the middle, with a clock unlike this one's: its jobs and
      // limits are dropped, and every ticket is enqueued again.
      cleared: this.#lock !== undefined,
    });
    if (this.#lock) {
      try {
        await dequeueAll(database, this.#saleId);
        this.#lock.assertHeld();
      } catch (error) {
        await queue.close();
        throw error;
      }
    }
    this.#queue = queue;
    return queue;
  }
}

export const queueName = (saleId: string) => `flash-sale-${saleId}`;
