// The inbox stands between a transport and a service's handlers. A message's id is recorded in the transaction of its
// effect, so a redelivery changes nothing. A failing message is stored and retried here, so it never blocks the
// messages behind it, and no transport needs a delay queue.
//
// The path of a message: Inbox receives it; unless it is processed on arrival, InboxWorker stores and claims its row;
// InboxProcessor makes one attempt and records the outcome; InboxTransactions commits effects, replies and failures.
import { setMaxListeners } from 'node:events';
import type { IncomingMessage, Receiver } from '../bus/port.ts';
import { isUnavailable } from '../database/port.ts';
import { FailureStreak } from '../runtime/failure-streak.ts';
import { Loop } from '../runtime/loop.ts';
import { PRUNE_BATCH, pruneAttempts } from './attempts.ts';
import { type ReadableMessage, readMessage, type UnreadableMessage } from './envelope.ts';
import { InboxProcessor, type InboxProcessorOptions } from './inbox-processor.ts';
import { InboxStore, MAX_UNREADABLE } from './inbox-store.ts';
import type { InboxOptions } from './inbox-transactions.ts';
import { InboxWorker } from './inbox-worker.ts';

const PRUNE_EVERY_MS = 60_000;
/**
 * Unreadable messages that a process records before it prunes again: each process may exceed MAX_UNREADABLE by this
 * many for a moment.
 */
const UNREADABLE_BATCH = 100;

export class Inbox implements Receiver {
  readonly worker: InboxWorker;
  readonly #options: InboxOptions;
  readonly #store: InboxStore;
  readonly #processor: InboxProcessor;
  readonly #pruneDone: Loop;
  readonly #pruneDead: Loop;
  readonly #pruneUnreadable: Loop;
  readonly #pruneAttempts: Loop;
  readonly #stopping = new AbortController();
  /** Of batches that were neither processed nor stored. */
  readonly #failures: FailureStreak;
  /** Recorded by this process since it started. */
  #unreadable = 0;
  #lastProgress: number | undefined;

  constructor(options: InboxOptions) {
    this.#options = options;
    const { database, schema, retentionDays, failedRetentionDays, onOutcome, log } = options;
    this.#failures = new FailureStreak({ name: 'receive messages', log });
    const { signal } = this.#stopping;
    setMaxListeners(0, signal); // each message that waits for the database adds a listener
    this.#store = new InboxStore(schema);
    const parts: InboxProcessorOptions = {
      ...options,
      store: this.#store,
      signal,
      onOutcome: (...outcome) => {
        this.#lastProgress = performance.now();
        onOutcome?.(...outcome);
      },
      onUnreadable: () => {
        if (++this.#unreadable % UNREADABLE_BATCH === 0) this.#pruneUnreadable.wake();
      },
    };
    this.#processor = new InboxProcessor(parts);
    this.worker = new InboxWorker(this.#processor, parts);
    const pruning = (name: string, prune: () => Promise<number>) =>
      new Loop({ name, everyMs: PRUNE_EVERY_MS, log, turn: async () => (await prune()) === PRUNE_BATCH });
    this.#pruneDone = pruning('prune', () => this.#store.pruneDone(database.longRunning, retentionDays));
    this.#pruneDead = pruning('prune dead', () => this.#store.pruneDead(database.longRunning, failedRetentionDays));
    this.#pruneUnreadable = pruning('prune unreadable', () => this.#deleteUnreadable());
    this.#pruneAttempts = pruning('prune attempts', () => pruneAttempts(database.longRunning, schema, retentionDays));
  }

  /** Starts to claim rows. process() works without it. */
  start(): void {
    this.worker.start();
    this.#pruneDone.start();
    this.#pruneDead.start();
    this.#pruneUnreadable.start();
    this.#pruneAttempts.start();
  }

  /**
   * Claims no more rows, and no longer waits for an unavailable database: process() and enqueue() then reject, and the
   * transport keeps the message. Resolves when this process's rows have an outcome or are left to their lease.
   */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const loops = [this.#pruneDone, this.#pruneDead, this.#pruneUnreadable, this.#pruneAttempts];
    await Promise.all([this.worker.stop(), ...loops.map((loop) => loop.stop())]);
    this.#failures.end();
  }

  /**
   * Whether the database rejects claims, or rejected the last batch less than `ms` ago: it is to blame, not this
   * process. An older rejection says nothing: a subscription that has fallen silent brings no batch that could succeed.
   */
  rejectedWithin(ms: number): boolean {
    return this.#failures.failedWithin(ms) || this.worker.failedWithin(ms);
  }

  /** When a message last got its outcome or was dropped, by performance.now(); undefined before the first one. */
  get lastProgress(): number | undefined {
    return this.#lastProgress;
  }

  /** Messages that this process is processing, and rows that are due and claimed by no process. */
  async backlog(): Promise<number> {
    return (await this.#store.countDue(this.#options.database)) + this.#processor.running;
  }

  async process(batch: readonly IncomingMessage[]): Promise<void> {
    const messages = this.#accepted(batch);
    const attempts = messages.map((each) => this.#processor.process(each, { origin: 'arrival', attempts: 1 }));
    await this.#counted(Promise.all(attempts));
  }

  enqueue(batch: readonly IncomingMessage[]): Promise<void> {
    return this.#storeOrProcess(batch, (messages) => this.worker.enqueue(messages));
  }

  processOrEnqueue(batch: readonly IncomingMessage[]): Promise<void> {
    const takesLong = ({ event }: ReadableMessage) => this.#options.handlers[event.type]?.prepare !== undefined;
    return this.#storeOrProcess(batch, (messages) => this.worker.enqueue(messages), takesLong);
  }

  isolate(batch: readonly IncomingMessage[]): Promise<void> {
    return this.#storeOrProcess(batch, (messages) => this.worker.isolate(messages));
  }

  /** Passes the readable messages for which `isStored` returns true to `store`, and processes the others now. */
  async #storeOrProcess(
    batch: readonly IncomingMessage[],
    store: (messages: readonly ReadableMessage[]) => Promise<void>,
    isStored: (message: ReadableMessage) => boolean = () => true,
  ): Promise<void> {
    const stored: ReadableMessage[] = [];
    const processing: Promise<void>[] = [];
    for (const message of this.#accepted(batch)) {
      if ('event' in message && isStored(message)) stored.push(message);
      else processing.push(this.#processor.process(message, { origin: 'arrival', attempts: 1 }));
    }
    if (stored.length > 0) processing.push(store(stored));
    await this.#counted(Promise.all(processing));
  }

  /** Counts failures in a row. While the database is away, `received` waits; at a stop it rejects. */
  async #counted(received: Promise<unknown>): Promise<void> {
    try {
      await received;
      this.#failures.succeeded();
    } catch (error) {
      if (!this.#stopping.signal.aborted && !isUnavailable(error)) this.#failures.failed(error);
      throw error;
    }
  }

  async deadLetter(batch: readonly IncomingMessage[], reason: string): Promise<void> {
    for (const { body } of batch) await this.#processor.deadLetter(this.#read(body), reason);
  }

  wake(): void {
    this.worker.wake();
  }

  #read(body: Uint8Array): ReadableMessage | UnreadableMessage {
    return readMessage(this.#options.catalogue, body);
  }

  /** Drops events that their handler does not accept: they are acknowledged but not stored, and count as progress. */
  #accepted(batch: readonly IncomingMessage[]): (ReadableMessage | UnreadableMessage)[] {
    return batch
      .map(({ body }) => this.#read(body))
      .filter((message) => {
        if (!('event' in message) || this.#options.handlers[message.event.type]?.accepts?.(message.event) !== false)
          return true;
        this.#lastProgress = performance.now();
        return false;
      });
  }

  async #deleteUnreadable(): Promise<number> {
    const { database, log, onUnreadablePruned } = this.#options;
    const pruned = await this.#store.pruneUnreadable(database.longRunning);
    if (pruned > 0) {
      const about = { pruned, kept: MAX_UNREADABLE };
      log.warn(about, 'deleted the oldest unreadable messages: find out which client sends them');
      onUnreadablePruned?.(pruned);
    }
    return pruned;
  }
}
