// Drains the sales: for each one that is open or has queued tickets, a queue with its own pace, fed from the tickets.
//
// The tickets are the truth, the queue only gives the pace. So a few seconds' worth of jobs is all that it holds: the
// feeder adds one for each ticket at the head of the line that has none. Each ticket's job is certain for a while
// (`fed_until`); afterwards it is added again, whatever became of it: a queue that lost everything costs seconds.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Database, DatabaseUnavailable, type Lock } from '../../infra/database/port.ts';
import type { PacedQueue, PacedQueues } from '../../infra/queue/port.ts';
import { Loop } from '../../infra/runtime/loop.ts';
import { within } from '../../infra/runtime/promises.ts';
import { StallDetector } from '../../infra/runtime/stall-detector.ts';
import {
  type DrainedSale,
  feed,
  forgetQueue,
  listDrained,
  listLeftQueues,
  rememberQueue,
  unfeed,
  unfeedAll,
} from './store/tickets.ts';

/** How soon a sale is found, or a ticket, that another process committed. This process's own wake the loop. */
const FIND_MS = 250;
/** Between two turns at the least, however many tickets are committed: adding five jobs costs as much as adding fifty. */
const TURN_MS = 100;
/** Worth of jobs in a queue, and tickets that one turn feeds it. */
const AHEAD_SECONDS = 2;
const AHEAD_MIN = 20;
const MAX_FED = 5_000;
/** A job counts as there for this long at the least, and for this many times what it takes to get through the queue. */
const FED_MS = 5_000;
const FED_TIMES = 1.5;
/** A sale that is open but quiet is put away; the next ticket brings it back. */
const QUIET_MS = 600_000;
/** Queues in one process, each with a connection or two. Those with tickets come first, the others wait their turn. */
const MAX_QUEUES = 100;
/** Some ticket leaves a queue within this, or it is opened anew: BullMQ's workers may stay silent after an outage. */
const SILENT_MS = 10_000;
/** However short a silence is set, so many tickets should have left by then. */
const SILENT_TICKETS = 3;
/** How often queues are looked for whose sales are over or quiet, and how many are removed at a time. */
const REMOVE_MS = 5_000;
const MAX_REMOVED = 20;
/** A job that hangs keeps its queue from closing for good: it is not waited for any longer. */
const CLOSE_MS = 2_000;

const LOCK = 'sluice flash-sale drain';
/** How often a process that stands by asks for the lock: each time costs a connection. */
const LOCK_MS = 1_000;
/** Some of the sales that cannot be fed are told of this often. */
const WARN_MS = 10_000;

export interface DrainOptions {
  readonly database: Database;
  readonly queues: PacedQueues;
  /** Lets a ticket out of the queue; does nothing for one that is not queued. */
  readonly accept: (ticketId: string) => Promise<void>;
  /** The last attempt at that failed. */
  readonly giveUp: (ticketId: string, error: Error) => Promise<void>;
  /** A queue that nobody leaves for this long, or for 10 s, is opened anew. */
  readonly stallMs: number;
  /** A queue was opened anew. */
  readonly onRebuild: () => void;
  readonly log: Logger;
}

interface Draining {
  readonly queue: PacedQueue;
  readonly perSecond: number;
}

export class Drain {
  readonly #options: DrainOptions;
  readonly #loop: Loop;
  readonly #removing: Loop;
  readonly #draining = new Map<string, Draining>();
  /** Of each sale that is listed. They outlive its queue, which may fail to open. */
  readonly #stallDetectors = new Map<string, StallDetector>();
  readonly #closing = new Set<Promise<void>>();
  /** Sales whose queues this process has closed since it last removed some. */
  readonly #closed = new Set<string>();
  /** Where only one process may drain at a time. */
  #lock: Lock | undefined;
  #lastTurnAt = 0;
  #triedAt = Number.NEGATIVE_INFINITY;
  #warnedAt = Number.NEGATIVE_INFINITY;

  constructor(options: DrainOptions) {
    this.#options = options;
    const { log } = options;
    this.#loop = new Loop({ name: 'drain', everyMs: FIND_MS, log, turn: () => this.#turn() });
    this.#removing = new Loop({ name: 'remove queues', everyMs: REMOVE_MS, log, turn: () => this.#removeLeft() });
  }

  start(): void {
    this.#loop.start();
    this.#removing.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#loop.stop(), this.#removing.stop()]);
    await this.#closeAll();
    await Promise.all(this.#closing);
    await this.#lock?.release();
    this.#lock = undefined;
  }

  /** False while some sale's tickets do not leave, and opening its queue anew did not help. */
  get healthy(): boolean {
    return [...this.#stallDetectors.values()].every(({ healthy }) => healthy);
  }

  /** Tickets were committed. */
  wake(): void {
    this.#loop.wake();
  }

  async #turn(): Promise<boolean> {
    const { database, queues } = this.#options;
    await delay(Math.max(0, this.#lastTurnAt + TURN_MS - performance.now()));
    this.#lastTurnAt = performance.now();
    if (!queues.shared && !(await this.#holdsLock())) return false;
    const sales = await listDrained(database, QUIET_MS, MAX_QUEUES).catch((error) => {
      // Without the database there can be no progress, and no queue is to blame.
      if (error instanceof DatabaseUnavailable) for (const detector of this.#stallDetectors.values()) detector.reset();
      throw error;
    });
    const ids = new Set(sales.map(({ id }) => id));
    for (const id of this.#stallDetectors.keys()) if (!ids.has(id)) this.#stallDetectors.delete(id);
    const over = [...this.#draining].filter(([id]) => !ids.has(id));
    // At the same time: where the queues' server hangs, each would wait for a time-out of its own.
    await Promise.all(over.map(([id, { queue }]) => this.#putAway(id, queue)));
    // All of them to the end, and one that fails holds up no other.
    const fed = await Promise.allSettled(sales.map((sale) => this.#feed(sale)));
    const failed = fed.filter((result) => result.status === 'rejected');
    if (failed.length > 0 && failed.length === sales.length) throw failed[0]?.reason;
    if (failed.length > 0) this.#warn(failed.length, failed[0]?.reason);
    return fed.some((result) => result.status === 'fulfilled' && result.value);
  }

  /** Closes the queue of a sale that is over or quiet; #removing removes what is left of it. */
  async #putAway(id: string, queue: PacedQueue): Promise<void> {
    this.#draining.delete(id);
    await within(CLOSE_MS, queue.close()).catch((error) => this.#warn(1, error));
    this.#closed.add(id);
    this.#removing.wake();
  }

  /** Answers whether there may be more to feed. */
  async #feed(sale: DrainedSale): Promise<boolean> {
    const { database } = this.#options;
    if (this.#isSilent(sale)) await this.#dropQueue(sale);
    const draining = this.#draining.get(sale.id) ?? (await this.#open(sale));
    if (sale.queued === 0) return false;
    const window = Math.min(MAX_FED, AHEAD_MIN + AHEAD_SECONDS * draining.perSecond);
    const ids = await feed(
      database,
      sale.id,
      window,
      Math.max(FED_MS, FED_TIMES * (window / draining.perSecond) * 1_000),
    );
    if (ids.length === 0) return false;
    try {
      await draining.queue.add(ids);
    } catch (error) {
      // The queue's server is away: purchases go on being decided, and the tickets wait in their table.
      await unfeed(database, ids);
      throw error;
    }
    return ids.length === MAX_FED;
  }

  /** Whether tickets wait and none has left for too long, whichever process drains it. */
  #isSilent({ id, queued, left, drain_per_second: perSecond }: DrainedSale): boolean {
    const { queues, stallMs } = this.#options;
    let detector = this.#stallDetectors.get(id);
    if (!detector) {
      detector = new StallDetector(Math.max(Math.min(SILENT_MS, stallMs), (SILENT_TICKETS * 1_000) / perSecond));
      this.#stallDetectors.set(id, detector);
    }
    // Without the server of the queues there can be no progress, and no queue is to blame.
    return detector.check(queues.health().status === 'down' ? undefined : queued, left);
  }

  /** What its queue held is fed again to the next one. */
  async #dropQueue({ id, queued }: DrainedSale): Promise<void> {
    const { database, onRebuild, log } = this.#options;
    log.warn(
      { sale: id, queued, rebuilds: this.#stallDetectors.get(id)?.rebuilds },
      'the queue is silent: opened anew',
    );
    onRebuild();
    const draining = this.#draining.get(id);
    this.#draining.delete(id);
    if (draining) {
      const closing = draining.queue.close().finally(() => this.#closing.delete(closing));
      this.#closing.add(closing);
      await within(CLOSE_MS, closing).catch((error) => log.warn({ sale: id, error: String(error) }, 'a job hangs'));
    }
    await unfeedAll(database, id);
  }

  async #open({ id, drain_per_second: perSecond }: DrainedSale): Promise<Draining> {
    const { database, queues, accept, giveUp, log } = this.#options;
    await rememberQueue(database, id);
    this.#assertLocked();
    const queue = await queues.open({
      name: queueName(id),
      perSecond,
      work: accept,
      onGivenUp: (ticketId, error) => {
        giveUp(ticketId, error).catch((cause) => log.warn({ ticket: ticketId, error: String(cause) }, 'still queued'));
      },
      // Whoever drained alone before may have died in the middle, with a clock that is not ours: its jobs and limits are
      // forgotten, and every ticket is fed again.
      cleared: !queues.shared,
    });
    if (!queues.shared) {
      try {
        await unfeedAll(database, id);
        this.#assertLocked();
      } catch (error) {
        await queue.close();
        throw error;
      }
    }
    const draining = { queue, perSecond };
    this.#draining.set(id, draining);
    return draining;
  }

  /**
   * Removes what is left of the queues of sales that are over or quiet, also where it was left by a process that died.
   * Where several processes drain, each removes what it has closed: the last one what was written after the first.
   */
  async #removeLeft(): Promise<boolean> {
    const { database, queues } = this.#options;
    if (!queues.shared && !this.#lock) return false;
    const closed = [...this.#closed];
    const left = await listLeftQueues(database, closed, QUIET_MS, MAX_REMOVED);
    const removed = await Promise.allSettled(left.map((id) => this.#remove(id)));
    const failed = removed.filter((result) => result.status === 'rejected');
    if (failed.length > 0 && failed.length === left.length) throw failed[0]?.reason;
    if (failed.length > 0) this.#warn(failed.length, failed[0]?.reason, 'queues not removed, trying again');
    if (left.length === MAX_REMOVED) return true;
    for (const id of closed) if (!left.includes(id)) this.#closed.delete(id); // it is drained again
    return false;
  }

  /** Should a ticket come meanwhile, its job is lost, and added again. */
  async #remove(id: string): Promise<void> {
    const { database, queues } = this.#options;
    if (this.#draining.has(id)) return; // it is to be closed first
    this.#assertLocked();
    await queues.remove(queueName(id));
    this.#assertLocked();
    await forgetQueue(database, id, QUIET_MS);
    this.#closed.delete(id);
  }

  async #holdsLock(): Promise<boolean> {
    if (this.#lock) return true;
    await this.#closeAll(); // it may have been lost since the last turn
    if (performance.now() - this.#triedAt < LOCK_MS) return false;
    this.#triedAt = performance.now();
    const lock = await this.#options.database.tryLock(LOCK);
    if (!lock) return false;
    this.#lock = lock;
    this.#removing.wake();
    void lock.lost.then(() => {
      if (this.#lock === lock) this.#loseLock();
    });
    return true;
  }

  /** Another process drains soon. The turn under way may hang, so the queues end now. */
  #loseLock(): void {
    const { log } = this.#options;
    this.#lock = undefined;
    log.warn('the lock of the drain is lost: its queues are closed');
    const closing = this.#closeAll()
      .catch((error) => log.warn({ error: String(error) }, 'queues not closed'))
      .finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
    this.wake();
  }

  #assertLocked(): void {
    if (!this.#options.queues.shared && !this.#lock) throw new Error('the lock is lost');
  }

  #warn(count: number, reason: unknown, what = 'queues not fed, trying again'): void {
    if (performance.now() - this.#warnedAt < WARN_MS) return;
    this.#warnedAt = performance.now();
    this.#options.log.warn({ sales: count, error: String(reason) }, what);
  }

  async #closeAll(): Promise<void> {
    const open = [...this.#draining.values()];
    this.#draining.clear();
    this.#stallDetectors.clear();
    await Promise.all(open.map(({ queue }) => queue.close()));
  }
}

const queueName = (saleId: string) => `flash-sale-${saleId}`;
