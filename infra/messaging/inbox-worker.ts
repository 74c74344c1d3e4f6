// Processes messages that wait in rows: those that were stored without being processed, retries that are due, replies
// to be resent. A process claims only as many rows as it has capacity for; several processes share the rows.

import { pollingLoop } from '../database/poll.ts';
import { PendingSet } from '../runtime/collections.ts';
import { FailureStreak } from '../runtime/failure-streak.ts';
import type { Loop } from '../runtime/loop.ts';
import type { ReadableMessage } from './envelope.ts';
import { type InboxProcessor, type InboxProcessorOptions, retryUnavailable } from './inbox-processor.ts';
import type { ClaimedMessage } from './inbox-store.ts';

/** How often the worker checks for rows whose process ended during an attempt. */
const UNFINISHED_EVERY_MS = 1_000;

export class InboxWorker {
  readonly #processor: InboxProcessor;
  readonly #options: InboxProcessorOptions;
  readonly #dueLoop: Loop;
  readonly #unfinishedLoop: Loop;
  /** Of attempts whose outcome was not recorded. */
  readonly #failures: FailureStreak;
  /** Claims of this process whose outcome is not recorded yet. A message that an operator retries meanwhile has two. */
  readonly #runningClaims = new Set<{ readonly messageId: string }>();
  /** Rows that use the capacity: those being claimed as they are stored, and those being processed. */
  #usedCapacity = 0;
  readonly #background = new PendingSet();
  /** More rows may be due than there was capacity for. */
  #moreDue = false;

  constructor(processor: InboxProcessor, options: InboxProcessorOptions) {
    this.#processor = processor;
    this.#options = options;
    const { database, store, pollMs, log } = options;
    this.#failures = new FailureStreak({ name: 'record outcomes', log });
    this.#dueLoop = pollingLoop({
      name: 'inbox',
      everyMs: pollMs,
      database,
      nextDue: store.nextDue,
      log,
      turn: () => this.#claimDue(),
    });
    this.#unfinishedLoop = pollingLoop({
      name: 'unfinished',
      everyMs: UNFINISHED_EVERY_MS,
      database,
      nextDue: store.nextUnfinished,
      log,
      turn: () => this.#claimUnfinished(),
    });
  }

  start(): void {
    this.#dueLoop.start();
    this.#unfinishedLoop.start();
  }

  /** Resolves when the outcome of each row is recorded, or the row is left until its lease expires. */
  async stop(): Promise<void> {
    await Promise.all([this.#dueLoop.stop(), this.#unfinishedLoop.stop()]);
    while (this.#background.size > 0) await this.#background.settled();
    this.#failures.end();
  }

  /** Whether rows cannot be claimed now, or the last attempt's outcome could not be recorded, less than `ms` ago. */
  failedWithin(ms: number): boolean {
    return this.#dueLoop.failing || this.#unfinishedLoop.failing || this.#failures.failedWithin(ms);
  }

  /** Claims due rows now, rather than at the next poll. */
  wake(): void {
    this.#moreDue = false;
    this.#dueLoop.wake();
  }

  /** Stores messages. Within the capacity, claims them at once and processes them without reading them back. */
  enqueue(messages: readonly ReadableMessage[]): Promise<void> {
    const storing = messages.length <= this.#capacity ? this.#storeClaimed(messages) : this.#storeUnclaimed(messages);
    return this.#background.add(storing);
  }

  /** Stores messages one of which may end the process: they are claimed one by one, as unfinished rows are. */
  isolate(messages: readonly ReadableMessage[]): Promise<void> {
    return this.#background.add(this.#storeUnfinished(messages));
  }

  /** Processes claimed rows, each as an attempt of its own. Resolves as stop() does. */
  async processClaimed(rows: readonly ClaimedMessage[]): Promise<void> {
    await Promise.all(rows.map((row) => this.#start(row.message_id, () => this.#processor.processClaimed(row))));
  }

  get #capacity(): number {
    const { signal, maxRows } = this.#options;
    return signal.aborted ? 0 : Math.max(0, maxRows - this.#usedCapacity);
  }

  async #storeClaimed(messages: readonly ReadableMessage[]): Promise<void> {
    // The capacity is taken before they are written, because other messages may arrive meanwhile.
    this.#usedCapacity += messages.length;
    let added: Set<string>;
    try {
      added = await this.#store(messages, this.#options.leaseMs);
    } finally {
      this.#release(messages.length); // #start takes it again, for each new message
    }
    // The others are known: those that were processed before get their reply resent.
    if (added.size < messages.length) this.wake();
    for (const message of messages) {
      // `delete` lets only one through if the batch holds an id twice.
      if (added.delete(message.messageId))
        void this.#start(message.messageId, () => this.#processor.process(message, { origin: 'row', attempts: 1 }));
    }
  }

  async #storeUnclaimed(messages: readonly ReadableMessage[]): Promise<void> {
    await this.#store(messages, 0);
    this.wake();
    this.#moreDue = true; // after wake(), which clears it
  }

  async #storeUnfinished(messages: readonly ReadableMessage[]): Promise<void> {
    const { database, store } = this.#options;
    const added = await retryUnavailable(() => store.addUnfinished(database, messages), this.#options);
    if (added.size < messages.length) this.wake(); // as in #storeClaimed
    this.#unfinishedLoop.wake();
  }

  #store(messages: readonly ReadableMessage[], leaseMs: number): Promise<Set<string>> {
    const { database, store } = this.#options;
    return retryUnavailable(() => store.add(database, messages, leaseMs), this.#options);
  }

  async #claimDue(): Promise<void> {
    const { database, store, leaseMs, maxRows } = this.#options;
    const capacity = this.#capacity;
    // Waits for more capacity, rather than claim row by row: the end of an attempt wakes it.
    if (capacity < maxRows / 2) {
      this.#moreDue = true;
      return;
    }
    const rows = await store.claimDue(database, leaseMs, capacity);
    if (rows.length === capacity) this.#moreDue = true;
    void this.processClaimed(rows);
  }

  /**
   * One row at a time, alone in its transaction: a message that ends the process again costs no other message an
   * attempt.
   */
  async #claimUnfinished(): Promise<boolean> {
    const { database, store, leaseMs, attempts } = this.#options;
    const running = [...this.#runningClaims].map(({ messageId }) => messageId);
    const [row] = await store.claimUnfinished(database, leaseMs, running);
    if (!row) return false;
    const hasNoAttemptsLeft = row.attempts > attempts;
    await this.#trackClaim(row.message_id, () =>
      hasNoAttemptsLeft ? this.#processor.markDead(row) : this.#processor.processClaimed(row, { alone: true }),
    );
    return true;
  }

  /** Processes a claimed row in the background, so that a slow message delays none behind it. */
  #start(messageId: string, work: () => Promise<void>): Promise<void> {
    this.#usedCapacity++;
    const attempt = this.#trackClaim(messageId, work)
      .then(
        () => this.#failures.succeeded(),
        (error) => {
          const about = { messageId, error: String(error) };
          this.#options.log.warn(about, 'outcome not recorded; the message is retried when its lease expires');
          if (!this.#options.signal.aborted) this.#failures.failed(error);
        },
      )
      .finally(() => this.#release(1));
    return this.#background.add(attempt);
  }

  /** Keeps this process from claiming the row as unfinished, however long `work` takes. */
  async #trackClaim(messageId: string, work: () => Promise<void>): Promise<void> {
    const claim = { messageId };
    this.#runningClaims.add(claim);
    try {
      await work();
    } finally {
      this.#runningClaims.delete(claim);
    }
  }

  #release(rows: number): void {
    this.#usedCapacity -= rows;
    if (this.#moreDue && this.#usedCapacity < this.#options.maxRows / 2) this.wake();
  }
}
