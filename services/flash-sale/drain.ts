// Drains the sales: for each one that is open or has queued tickets, a queue with its own pace, fed from the tickets.
//
// The tickets are the truth, the queue only gives the pace. So a few seconds' worth of jobs is all that it holds: the
// feeder adds one for each ticket at the head of the line that has none. Each ticket's job is certain for a while
// (`fed_until`); afterwards it is added again, whatever became of it: a queue that lost everything costs seconds.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Database, Lock } from '../../infra/database/port.ts';
import { Loop } from '../../infra/loop.ts';
import type { PacedQueue, PacedQueues } from '../../infra/queue/port.ts';
import { type DrainedSale, feed, listDrained, unfeed, unfeedAll } from './store.ts';

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
  readonly log: Logger;
}

interface Draining {
  readonly queue: PacedQueue;
  readonly perSecond: number;
  /** Tickets that had left the queue, when that last changed or there was none in it, as performance.now() tells time. */
  left: number;
  leftAt: number;
}

export class Drain {
  readonly #options: DrainOptions;
  readonly #loop: Loop;
  readonly #draining = new Map<string, Draining>();
  /** Where only one process may drain at a time. */
  #lock: Lock | undefined;
  #lastTurnAt = 0;
  #triedAt = Number.NEGATIVE_INFINITY;
  #warnedAt = Number.NEGATIVE_INFINITY;

  constructor(options: DrainOptions) {
    this.#options = options;
    this.#loop = new Loop({ name: 'drain', everyMs: FIND_MS, log: options.log, turn: () => this.#turn() });
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    await this.#closeAll();
    await this.#lock?.release();
    this.#lock = undefined;
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
    const sales = await listDrained(database, QUIET_MS, MAX_QUEUES);
    const ids = new Set(sales.map(({ id }) => id));
    for (const [id, { queue }] of this.#draining) {
      if (ids.has(id)) continue;
      this.#draining.delete(id);
      // Whoever drains alone leaves nothing of a sale that is over or quiet; should that fail, the next one clears it.
      if (!queues.shared) await queue.clear().catch(() => undefined);
      await queue.close();
    }
    // All of them to the end, and one that fails holds up no other.
    const fed = await Promise.allSettled(sales.map((sale) => this.#feed(sale)));
    const failed = fed.filter((result) => result.status === 'rejected');
    if (failed.length > 0 && failed.length === sales.length) throw failed[0]?.reason;
    if (failed.length > 0) this.#warn(failed.length, failed[0]?.reason);
    return fed.some((result) => result.status === 'fulfilled' && result.value);
  }

  /** Answers whether there may be more to feed. */
  async #feed(sale: DrainedSale): Promise<boolean> {
    const { database, log } = this.#options;
    let draining = this.#draining.get(sale.id);
    if (draining && isSilent(draining, sale)) {
      log.warn({ sale: sale.id, queued: sale.queued, silentMs: SILENT_MS }, 'the queue is silent: opened anew');
      this.#draining.delete(sale.id);
      await draining.queue.close();
      draining = undefined;
    }
    draining ??= await this.#open(sale);
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

  async #open({ id, drain_per_second: perSecond, left }: DrainedSale): Promise<Draining> {
    const { database, queues, accept, giveUp, log } = this.#options;
    const queue = await queues.open({
      name: `flash-sale-${id}`,
      perSecond,
      work: accept,
      onGivenUp: (ticketId, error) => {
        giveUp(ticketId, error).catch((cause) => log.warn({ ticket: ticketId, error: String(cause) }, 'still queued'));
      },
    });
    if (!queues.shared) {
      // Whoever drained before may have died in the middle, with a clock that is not ours: its jobs and limits are
      // forgotten, and every ticket is fed again.
      try {
        await queue.clear();
        await unfeedAll(database, id);
      } catch (error) {
        await queue.close();
        throw error;
      }
    }
    const draining = { queue, perSecond, left, leftAt: performance.now() };
    this.#draining.set(id, draining);
    return draining;
  }

  async #holdsLock(): Promise<boolean> {
    if (this.#lock) return true;
    await this.#closeAll(); // it may have been lost since the last turn
    if (performance.now() - this.#triedAt < LOCK_MS) return false;
    this.#triedAt = performance.now();
    const lock = await this.#options.database.tryLock(LOCK);
    if (!lock) return false;
    this.#lock = lock;
    void lock.lost.then(() => {
      if (this.#lock !== lock) return;
      this.#lock = undefined;
      this.wake();
    });
    return true;
  }

  #warn(count: number, reason: unknown): void {
    if (performance.now() - this.#warnedAt < WARN_MS) return;
    this.#warnedAt = performance.now();
    this.#options.log.warn({ sales: count, error: String(reason) }, 'queues not fed, trying again');
  }

  async #closeAll(): Promise<void> {
    const open = [...this.#draining.values()];
    this.#draining.clear();
    await Promise.all(open.map(({ queue }) => queue.close()));
  }
}

/** Whether tickets wait and none has left for too long, whichever process drains it. */
function isSilent(draining: Draining, { queued, left }: DrainedSale): boolean {
  const now = performance.now();
  if (queued === 0 || left !== draining.left) Object.assign(draining, { left, leftAt: now });
  return now - draining.leftAt > SILENT_MS;
}
