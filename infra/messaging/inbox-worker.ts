// Handles what waits in an inbox's rows: messages that a transport only stored, attempts that are due, answers to be
// repeated; and forgets, after days, what was handled.
import type { Logger } from 'pino';
import type { Database } from '../database/port.ts';
import { Loop } from '../runtime/loop.ts';
import type { Inbox } from './inbox.ts';

/** How often rows are looked for whose process ended during an attempt. */
const UNFINISHED_EVERY_MS = 1_000;
const PRUNE_EVERY_MS = 60_000;
const PRUNE_BATCH = 10_000;
/**
 * Unreadable messages that are kept, the newest: a flood of them must not fill the disk. They are counted again after so
 * many more, so there may be that many above for a moment, in each process.
 */
export const MAX_UNREADABLE = 1_000;
const UNREADABLE_BATCH = 100;

export interface InboxWorkerOptions {
  readonly database: Database;
  readonly inbox: Inbox;
  /** A claimed row is free again after this: must exceed the slowest handler. */
  readonly leaseMs: number;
  /** The inbox's. */
  readonly maxRows: number;
  /** Attempts at a message before it is dead. */
  readonly attempts: number;
  /** How soon rows are found whose delay is over, or that another process wrote. */
  readonly pollMs: number;
  readonly retentionDays: number;
  /** So many unreadable messages were forgotten. */
  readonly onUnreadablePruned?: (count: number) => void;
  readonly log: Logger;
}

export class InboxWorker {
  readonly #options: InboxWorkerOptions;
  readonly #claiming: Loop;
  readonly #loops: Loop[];
  /** Recorded by this process since it began. */
  #unreadable = 0;

  constructor(options: InboxWorkerOptions) {
    this.#options = options;
    const { log, inbox, pollMs } = options;
    this.#claiming = new Loop({ name: 'inbox', everyMs: pollMs, log, turn: () => this.#claim() });
    inbox.onWake(() => this.#claiming.wake());
    const unreadable = new Loop({
      name: 'prune unreadable',
      everyMs: PRUNE_EVERY_MS,
      log,
      turn: () => this.#pruneUnreadable(),
    });
    inbox.onUnreadable(() => {
      if (++this.#unreadable % UNREADABLE_BATCH === 0) unreadable.wake();
    });
    this.#loops = [
      this.#claiming,
      new Loop({ name: 'unfinished', everyMs: UNFINISHED_EVERY_MS, log, turn: () => this.#claimUnfinished() }),
      new Loop({ name: 'prune', everyMs: PRUNE_EVERY_MS, log, turn: () => this.#prune() }),
      unreadable,
    ];
  }

  start(): void {
    for (const loop of this.#loops) loop.start();
  }

  /** Claims no more. */
  async stop(): Promise<void> {
    await Promise.all(this.#loops.map((loop) => loop.stop()));
  }

  async #claim(): Promise<boolean> {
    const { database, inbox, leaseMs, maxRows } = this.#options;
    const { room } = inbox;
    // With little room it waits for more, rather than claim row by row: the inbox wakes it.
    if (room < maxRows / 2) {
      inbox.takeOn([], true);
      return false;
    }
    const rows = await inbox.rows.claim(database, leaseMs, room);
    inbox.takeOn(rows, rows.length === room);
    return false;
  }

  /** One after the other, each in a transaction of its own: one that ends the process again takes nobody along. */
  async #claimUnfinished(): Promise<boolean> {
    const { database, inbox, leaseMs, attempts } = this.#options;
    const row = await inbox.rows.claimUnfinished(database, leaseMs, inbox.runningRows);
    if (!row) return false;
    if (row.attempts > attempts) await inbox.giveUp(row);
    else await inbox.handleRow(row, true);
    return true;
  }

  async #prune(): Promise<boolean> {
    const { database, inbox, retentionDays } = this.#options;
    return (await inbox.rows.prune(database.longRunning, retentionDays, PRUNE_BATCH)) === PRUNE_BATCH;
  }

  async #pruneUnreadable(): Promise<boolean> {
    const { database, inbox, onUnreadablePruned, log } = this.#options;
    const pruned = await inbox.rows.pruneUnreadable(database, MAX_UNREADABLE, PRUNE_BATCH);
    if (pruned > 0) {
      log.warn({ pruned, kept: MAX_UNREADABLE }, 'the oldest unreadable messages are forgotten: who sends them?');
      onUnreadablePruned?.(pruned);
    }
    return pruned === PRUNE_BATCH;
  }
}
