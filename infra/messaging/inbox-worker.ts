// Processes messages that wait in rows: those that a transport only stored, retries that are due, replies to be resent.
// A process claims only as many rows as it has capacity for; several processes share the rows.
import type { Logger } from 'pino';
import type { Database } from '../database/port.ts';
import { retryUnavailable } from '../database/retry-unavailable.ts';
import { Loop } from '../runtime/loop.ts';
import type { ReadableMessage } from './inbox-message.ts';
import type { InboxProcessor } from './inbox-processor.ts';
import type { ClaimedMessage, InboxStore } from './inbox-store.ts';

/** How often the worker looks for rows whose process ended during an attempt. */
const UNFINISHED_EVERY_MS = 1_000;

export interface InboxWorkerOptions {
  readonly database: Database;
  readonly store: InboxStore;
  readonly processor: InboxProcessor;
  readonly attempts: number;
  readonly leaseMs: number;
  readonly maxRows: number;
  readonly pollMs: number;
  /** Aborted when the inbox stops: no more rows are claimed. */
  readonly signal: AbortSignal;
  readonly log: Logger;
}

export class InboxWorker {
  readonly #options: InboxWorkerOptions;
  readonly #claiming: Loop;
  readonly #reclaiming: Loop;
  /** Claims of this process whose outcome is not recorded yet. A message retried meanwhile has two. */
  readonly #claims = new Set<{ readonly messageId: string }>();
  /** Rows in the background, from before their claim to their outcome. */
  #rows = 0;
  readonly #background = new Set<Promise<void>>();
  /** Rows wait that exceeded the capacity. */
  #moreDue = false;

  constructor(options: InboxWorkerOptions) {
    this.#options = options;
    const { pollMs, log } = options;
    this.#claiming = new Loop({ name: 'inbox', everyMs: pollMs, log, turn: () => this.#claim() });
    this.#reclaiming = new Loop({
      name: 'unfinished',
      everyMs: UNFINISHED_EVERY_MS,
      log,
      turn: () => this.#claimUnfinished(),
    });
  }

  start(): void {
    this.#claiming.start();
    this.#reclaiming.start();
  }

  /** Resolves when the rows of this process are recorded or left to their lease. */
  async stop(): Promise<void> {
    await Promise.all([this.#claiming.stop(), this.#reclaiming.stop()]);
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  /** Rows are due that may exceed the capacity. */
  wake(): void {
    this.#moreDue = false;
    this.#claiming.wake();
  }

  /** Stores messages. Those within the capacity are claimed at once, and processed without being read back. */
  enqueue(messages: readonly ReadableMessage[]): Promise<void> {
    const isWithinCapacity = messages.length <= this.#capacity;
    const storing = isWithinCapacity ? this.#storeClaimed(messages) : this.#storeUnclaimed(messages);
    // The capacity is taken now: other messages may arrive while these are written.
    this.#runInBackground(storing, isWithinCapacity ? messages.length : 0);
    return storing;
  }

  /** Processes claimed rows, each as an attempt of its own. Resolves when all are recorded or left to their lease. */
  async processClaimed(rows: readonly ClaimedMessage[]): Promise<void> {
    const { processor } = this.#options;
    await Promise.all(rows.map((row) => this.#start(row.message_id, () => processor.processClaimed(row))));
  }

  get #capacity(): number {
    const { signal, maxRows } = this.#options;
    return signal.aborted ? 0 : Math.max(0, maxRows - this.#rows);
  }

  async #storeClaimed(messages: readonly ReadableMessage[]): Promise<void> {
    const { leaseMs, processor } = this.#options;
    const added = await this.#store(messages, leaseMs);
    // The others are known: their replies are to be resent.
    if (added.size < messages.length) this.wake();
    for (const message of messages) {
      // `delete` lets only one through if the batch holds an id twice.
      if (added.delete(message.messageId))
        void this.#start(message.messageId, () => processor.process(message, { origin: 'row', attempts: 1 }));
    }
  }

  async #storeUnclaimed(messages: readonly ReadableMessage[]): Promise<void> {
    await this.#store(messages, 0);
    this.wake();
    this.#moreDue = true;
  }

  #store(messages: readonly ReadableMessage[], leaseMs: number): Promise<Set<string>> {
    const { database, store } = this.#options;
    return retryUnavailable(() => store.add(database, messages, leaseMs), this.#options);
  }

  async #claim(): Promise<boolean> {
    const { database, store, leaseMs, maxRows } = this.#options;
    const capacity = this.#capacity;
    // Waits for more capacity, rather than claim row by row: the end of an attempt wakes it.
    if (capacity < maxRows / 2) {
      this.#moreDue = true;
      return false;
    }
    const rows = await store.claimDue(database, leaseMs, capacity);
    if (rows.length === capacity) this.#moreDue = true;
    void this.processClaimed(rows);
    return false;
  }

  /** One row at a time, alone in its transaction: a message that ends the process again takes no other along. */
  async #claimUnfinished(): Promise<boolean> {
    const { database, store, processor, leaseMs, attempts } = this.#options;
    const running = [...this.#claims].map(({ messageId }) => messageId);
    const row = await store.claimUnfinished(database, leaseMs, running);
    if (!row) return false;
    await this.#hold(row.message_id, () =>
      row.attempts > attempts ? processor.markDead(row) : processor.processClaimed(row, { alone: true }),
    );
    return true;
  }

  /** Processes a claimed row in the background, so that a slow message delays none behind it. */
  #start(messageId: string, work: () => Promise<void>): Promise<void> {
    const { log } = this.#options;
    const attempt = this.#hold(messageId, work).catch((error) =>
      log.warn({ messageId, error: String(error) }, 'the attempt has no outcome: retrying when its lease is over'),
    );
    this.#runInBackground(attempt, 1);
    return attempt;
  }

  /** Keeps this process from claiming the row as unfinished, however long `work` takes. */
  async #hold(messageId: string, work: () => Promise<void>): Promise<void> {
    const claim = { messageId };
    this.#claims.add(claim);
    try {
      await work();
    } finally {
      this.#claims.delete(claim);
    }
  }

  /** Has `work` use the capacity for `rows`, and be waited for by stop(). */
  #runInBackground(work: Promise<void>, rows: number): void {
    this.#rows += rows;
    const running = work
      .catch(() => {}) // handled by the caller
      .finally(() => {
        this.#rows -= rows;
        this.#background.delete(running);
        if (this.#moreDue && this.#rows < this.#options.maxRows / 2) this.wake();
      });
    this.#background.add(running);
  }
}
