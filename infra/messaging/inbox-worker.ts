// Handles what waits in an inbox's rows: messages that a transport only stored, attempts that are due, answers to be
// repeated; and forgets, after days, what was handled.
import type { Logger } from 'pino';
import type { Database } from '../database/port.ts';
import { Loop } from '../loop.ts';
import type { Inbox } from './inbox.ts';
import type { ClaimedMessage } from './inbox-store.ts';

/** How soon rows are found whose wake-up was lost, whose delay is over, or that another process wrote. */
const POLL_MS = 100;
/** How often rows are looked for whose process ended during an attempt. */
const UNFINISHED_EVERY_MS = 1_000;
const PRUNE_EVERY_MS = 60_000;
const PRUNE_BATCH = 10_000;

export interface InboxWorkerOptions {
  readonly database: Database;
  readonly inbox: Inbox;
  /** A claimed row is free again after this: must exceed the slowest handler. */
  readonly leaseMs: number;
  /** Rows under way at the most. */
  readonly prefetch: number;
  /** Attempts at a message before it is dead. */
  readonly attempts: number;
  readonly retentionDays: number;
  readonly log: Logger;
}

export class InboxWorker {
  readonly #options: InboxWorkerOptions;
  readonly #claiming: Loop;
  readonly #loops: Loop[];
  readonly #running = new Set<Promise<void>>();
  #rowsRunning = 0;

  constructor(options: InboxWorkerOptions) {
    this.#options = options;
    const { log, inbox } = options;
    this.#claiming = new Loop({ name: 'inbox', everyMs: POLL_MS, log, turn: () => this.#claim() });
    inbox.onWake(() => this.#claiming.wake());
    this.#loops = [
      this.#claiming,
      new Loop({ name: 'unfinished', everyMs: UNFINISHED_EVERY_MS, log, turn: () => this.#claimUnfinished() }),
      new Loop({ name: 'prune', everyMs: PRUNE_EVERY_MS, log, turn: () => this.#prune() }),
    ];
  }

  start(): void {
    for (const loop of this.#loops) loop.start();
  }

  /** Claims no more; resolves when the rows under way are recorded. */
  async stop(): Promise<void> {
    await Promise.all(this.#loops.map((loop) => loop.stop()));
    await Promise.all(this.#running);
  }

  /** Claims as many rows as there is room for and handles them in the background, so that a slow one holds up none. */
  async #claim(): Promise<boolean> {
    const { database, inbox, leaseMs, prefetch } = this.#options;
    const room = prefetch - this.#rowsRunning;
    // With little room it waits for more, rather than claim row by row: handling wakes the loop when it is done.
    if (room < prefetch / 2) return false;
    const rows = await inbox.rows.claim(database, leaseMs, room);
    if (rows.length > 0) this.#handle(rows);
    return rows.length === room;
  }

  #handle(rows: readonly ClaimedMessage[]): void {
    this.#rowsRunning += rows.length;
    const running = this.#options.inbox
      .handleRows(rows)
      .catch((error) => this.#options.log.warn({ error: String(error) }, 'rows left to their lease'))
      .finally(() => {
        this.#running.delete(running);
        this.#rowsRunning -= rows.length;
        this.#claiming.wake();
      });
    this.#running.add(running);
  }

  /** Alone, one after the other: if one of them ends the process again, its neighbours are not charged. */
  async #claimUnfinished(): Promise<boolean> {
    const { database, inbox, leaseMs, attempts } = this.#options;
    const row = await inbox.rows.claimUnfinished(database, leaseMs);
    if (!row) return false;
    if (row.attempts > attempts) await inbox.giveUp(row);
    else await inbox.handleRows([row]);
    return true;
  }

  async #prune(): Promise<boolean> {
    const { database, inbox, retentionDays } = this.#options;
    return (await inbox.rows.prune(database, retentionDays, PRUNE_BATCH)) === PRUNE_BATCH;
  }
}
