// Deletes messages that were done days ago, and unreadable ones beyond a limit.
import type { Statements } from '../database/port.ts';
import { Loop } from '../runtime/loop.ts';
import type { InboxOptions } from './inbox-options.ts';

const EVERY_MS = 60_000;
/** Rows in one statement. */
const BATCH = 10_000;
/**
 * The newest unreadable messages are kept: a flood of them must not fill the disk. They are counted again after another
 * UNREADABLE_BATCH, so each process may exceed the limit by that many for a moment.
 */
export const MAX_UNREADABLE = 1_000;
const UNREADABLE_BATCH = 100;

export class InboxPruner {
  readonly #options: InboxOptions;
  readonly #database: Statements;
  readonly #table: string;
  readonly #done: Loop;
  readonly #unreadable: Loop;
  /** Recorded by this process since it started. */
  #unreadableCount = 0;

  constructor(options: InboxOptions) {
    this.#options = options;
    this.#database = options.database.longRunning;
    this.#table = `${options.schema}.inbox`;
    const shared = { everyMs: EVERY_MS, log: options.log };
    this.#done = new Loop({ ...shared, name: 'prune', turn: () => this.#pruneDone() });
    this.#unreadable = new Loop({ ...shared, name: 'prune unreadable', turn: () => this.#pruneUnreadable() });
  }

  start(): void {
    this.#done.start();
    this.#unreadable.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#done.stop(), this.#unreadable.stop()]);
  }

  /** To be called for each unreadable message that is recorded. */
  countUnreadable(): void {
    if (++this.#unreadableCount % UNREADABLE_BATCH === 0) this.#unreadable.wake();
  }

  async #pruneDone(): Promise<boolean> {
    const pruned = await this.#database.execute(
      `DELETE FROM ${this.#table} WHERE message_id IN (
         SELECT message_id FROM ${this.#table}
         WHERE status = 'done' AND NOT reply_requested AND received_at < now() - $1::integer * interval '1 day' LIMIT $2)`,
      [this.#options.retentionDays, BATCH],
    );
    return pruned === BATCH;
  }

  async #pruneUnreadable(): Promise<boolean> {
    const { log, onUnreadablePruned } = this.#options;
    const pruned = await this.#database.execute(
      // The outer condition again: a readable copy may have replaced the row meanwhile.
      `DELETE FROM ${this.#table} WHERE unreadable AND status = 'dead' AND message_id IN (
         SELECT message_id FROM ${this.#table} WHERE unreadable AND status = 'dead'
         ORDER BY received_at DESC, message_id DESC OFFSET $1 LIMIT $2)`,
      [MAX_UNREADABLE, BATCH],
    );
    if (pruned > 0) {
      log.warn(
        { pruned, kept: MAX_UNREADABLE },
        'deleted the oldest unreadable messages: find out which client sends them',
      );
      onUnreadablePruned?.(pruned);
    }
    return pruned === BATCH;
  }
}
