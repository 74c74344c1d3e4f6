// The inbox: what stands between a transport and a service's handlers. A message's id is recorded in the transaction
// of its effect, so a redelivery changes nothing; a failing message is kept and retried here, so it never blocks the
// ones behind it and no transport needs a delay queue.
import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { IncomingMessage, Receiver } from '../bus/port.ts';
import { GroupCommit, Overloaded } from '../database/group-commit.ts';
import { type Database, DatabaseUnavailable } from '../database/port.ts';
import type { HandlingOutcome } from '../observability/log-format.ts';
import { backoff } from '../runtime/backoff.ts';
import type { CloudEvent, EventCatalogue } from './catalogue.ts';
import { type ReadEvent, readEvent, type Unreadable } from './envelope.ts';
import { FailedMessages } from './failed-messages.ts';
import type { AnyHandlers, OnDead } from './handler.ts';
import { type ClaimedMessage, InboxStore, MAX_STORED_BYTES, type NewMessage } from './inbox-store.ts';
import { InboxTransactions, type Origin, type Work } from './inbox-transactions.ts';

/** Messages in one transaction at the most. */
const MAX_BATCH = 500;
/** Under load, a transaction follows the last one after this at the earliest. */
const GATHER_MS = 20;
/** Pauses while the database is away. */
const AWAY_BASE_MS = 100;
const AWAY_MAX_MS = 5_000;
/** Stands for every type that this service does not handle. */
const UNKNOWN = 'unknown';

export interface InboxOptions {
  readonly database: Database;
  /** The service's schema: it holds the table. */
  readonly schema: string;
  readonly catalogue: EventCatalogue;
  readonly handlers: AnyHandlers;
  readonly onDead?: OnDead | undefined;
  /** What log lines call a message's subject. */
  readonly subjectName?: string | undefined;
  /** Attempts at a message before it is dead, and the delays between them. */
  readonly attempts: number;
  readonly retryBaseMs: number;
  readonly retryMaxMs: number;
  /** A row that is claimed is free again after this: must exceed the slowest handler. */
  readonly leaseMs: number;
  /** Messages that a transport leaves unacknowledged at the most. */
  readonly prefetch: number;
  /** Rows under way at the most. */
  readonly maxRows: number;
  readonly log: Logger;
  /** Called for every message whose outcome is recorded. `type` is one of `handlers`, or `unknown`. */
  readonly onOutcome?: (type: string, outcome: HandlingOutcome, seconds: number) => void;
}

export class Inbox implements Receiver {
  readonly rows: InboxStore;
  readonly failed: FailedMessages;
  readonly #options: InboxOptions;
  readonly #transactions: InboxTransactions;
  readonly #commits: GroupCommit<Work, HandlingOutcome>;
  /** Replies that are sent again, out of rows. */
  readonly #replies: GroupCommit<Pick<NewMessage, 'messageId'>, undefined>;
  readonly #listeners: (() => void)[] = [];
  readonly #unreadableListeners: (() => void)[] = [];
  readonly #stopping = new AbortController();
  /** Messages under way, and how many of them are rows. */
  #running = 0;
  #rowsRunning = 0;
  /** Rows are known to wait that there was no room for. */
  #unclaimed = false;
  readonly #background = new Set<Promise<void>>();
  /** Claimed rows that are under way, from the claim to the recorded outcome. */
  readonly #heldRows = new Set<{ readonly messageId: string }>();
  #lastProgress: number | undefined;

  constructor(options: InboxOptions) {
    this.#options = options;
    this.rows = new InboxStore(options.schema);
    this.failed = new FailedMessages(options.database, options.schema);
    // Every message that waits for the database listens for the stop.
    setMaxListeners(0, this.#stopping.signal);
    const { database, handlers, onDead } = options;
    this.#transactions = new InboxTransactions({ database, rows: this.rows, handlers, onDead });
    this.#commits = new GroupCommit({
      run: (batch) => this.#transactions.commit(batch),
      key: ({ message }) => message.messageId,
      maxBatch: MAX_BATCH,
      gatherMs: GATHER_MS,
      // Twice, as a transport that lost its connection delivers again what is under way.
      maxWaiting: 2 * options.prefetch + options.maxRows,
    });
    this.#replies = new GroupCommit({
      run: async (batch) => {
        await this.#transactions.repeat(batch);
        return batch.map(() => undefined);
      },
      key: ({ messageId }) => messageId,
      maxBatch: MAX_BATCH,
      gatherMs: GATHER_MS,
      maxWaiting: options.maxRows,
    });
  }

  /** Messages under way. */
  get running(): number {
    return this.#running;
  }

  /** The ids of claimed rows that are under way, however old the claim. */
  get runningRows(): string[] {
    return [...this.#heldRows].map(({ messageId }) => messageId);
  }

  /** When an outcome was last recorded, as performance.now() tells time; undefined before the first one. */
  get lastProgress(): number | undefined {
    return this.#lastProgress;
  }

  /** How many more rows may be claimed. */
  get room(): number {
    return this.#stopping.signal.aborted ? 0 : Math.max(0, this.#options.maxRows - this.#rowsRunning);
  }

  /**
   * Claims no more rows, and no longer waits for a database that is away: a transport's message then rejects and stays
   * with it.
   */
  stop(): void {
    this.#stopping.abort();
  }

  /** Resolves when the rows under way are recorded or left to their lease. To be waited for once nothing arrives. */
  async idle(): Promise<void> {
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  onWake(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** `listener` is called for each unreadable message that is recorded. */
  onUnreadable(listener: () => void): void {
    this.#unreadableListeners.push(listener);
  }

  wake(): void {
    this.#unclaimed = false;
    for (const listener of this.#listeners) listener();
  }

  async handle(batch: readonly IncomingMessage[]): Promise<void> {
    const read = batch.map(({ body }) => ({ body, read: this.#read(body) }));
    const ours = read.filter(({ read }) => this.#concerns(read));
    await Promise.all(ours.map(({ body, read }) => this.#attempt(read, body, 'arrival', 1)));
  }

  async store(batch: readonly IncomingMessage[]): Promise<void> {
    const messages: (NewMessage & { readonly event: CloudEvent })[] = [];
    for (const { body } of batch) {
      const read = this.#read(body);
      if (!this.#concerns(read)) continue;
      if ('event' in read) {
        const { id, type, subject } = read.event;
        messages.push({ messageId: id, type, subject, body, event: read.event });
      } else await this.#recordUnreadable(read.unreadable, body, 'arrival');
    }
    if (messages.length === 0) return;
    // Rows that there is room for are claimed as they are written, and handled without being read back.
    const leaseMs = messages.length <= this.room ? this.#options.leaseMs : 0;
    const rows = messages.map(({ event: _, ...message }) => message);
    // The room is taken now: other batches may come while this one is written.
    const taken = leaseMs > 0 ? messages.length : 0;
    this.#rowsRunning += taken;
    const stored = await this.#whenDatabaseIsThere(() => this.rows.add(this.#options.database, rows, leaseMs)).finally(
      () => this.#makeRoom(taken),
    );
    if (leaseMs === 0 || stored.size < messages.length) this.wake();
    if (leaseMs === 0) this.#unclaimed = true;
    if (leaseMs > 0 && stored.size > 0) {
      const claimed = messages.filter(({ messageId }) => stored.delete(messageId));
      this.#inBackground(
        claimed.map(({ event, body }) => this.#holding(event.id, () => this.#attempt({ event }, body, 'row', 1))),
      );
    }
  }

  async bury(batch: readonly IncomingMessage[], reason: string): Promise<void> {
    for (const { body } of batch) {
      const read = this.#read(body);
      if ('event' in read) {
        const { id, type, subject } = read.event;
        await this.#recordDead({ messageId: id, type, subject, body }, 'arrival', reason);
      } else await this.#recordUnreadable(read.unreadable, body, 'arrival');
    }
  }

  /**
   * Handles claimed rows in the background, each as an attempt of its own; repeats answers that were asked for again.
   * `more`: there may be more than there was room for.
   */
  takeOn(rows: readonly ClaimedMessage[], more = false): void {
    this.#unclaimed ||= more;
    this.#inBackground(rows.map((row) => this.handleRow(row)));
  }

  /** One attempt at a claimed row; `alone`: in a transaction of its own. */
  handleRow(row: ClaimedMessage, alone = false): Promise<void> {
    return this.#holding(row.message_id, () => this.#handleRow(row, alone));
  }

  #handleRow(row: ClaimedMessage, alone: boolean): Promise<void> {
    if (wasHandled(row)) return this.#resendReply(row, alone);
    const { message_id: messageId, body, attempts } = row;
    const bytes = body ?? new Uint8Array();
    const read = this.#read(bytes);
    if ('event' in read) return this.#attempt(read, bytes, 'row', attempts, alone);
    return this.#recordUnreadable(read.unreadable, bytes, 'row', messageId);
  }

  /** Keeps the row from being claimed as unfinished by this process, however long `work` takes. */
  async #holding(messageId: string, work: () => Promise<void>): Promise<void> {
    const held = { messageId };
    this.#heldRows.add(held);
    try {
      await work();
    } finally {
      this.#heldRows.delete(held);
    }
  }

  #read(body: Uint8Array): ReadEvent {
    return readEvent(this.#options.catalogue, body);
  }

  /** Whether a message is to be recorded: everything but what its handler says is none of this service's business. */
  #concerns(read: ReadEvent): boolean {
    if ('unreadable' in read || this.#options.handlers[read.event.type]?.concerns?.(read.event) !== false) return true;
    this.#lastProgress = performance.now();
    return false;
  }

  /** So that a slow message holds up none behind it. What ends without an outcome is left to its lease. */
  #inBackground(attempts: readonly Promise<void>[]): void {
    for (const attempt of attempts) {
      this.#rowsRunning++;
      const running = attempt
        .catch((error) => this.#options.log.warn({ error: messageOf(error) }, 'left to its lease'))
        .finally(() => {
          this.#background.delete(running);
          this.#makeRoom(1);
        });
      this.#background.add(running);
    }
  }

  #makeRoom(rows: number): void {
    this.#rowsRunning -= rows;
    if (this.#unclaimed && this.#rowsRunning < this.#options.maxRows / 2) this.wake();
  }

  /** Ends a claimed row whose attempts are used up without any having finished. */
  giveUp(row: ClaimedMessage): Promise<void> {
    return this.#holding(row.message_id, () => this.#giveUp(row));
  }

  async #giveUp(row: ClaimedMessage): Promise<void> {
    const error = `the process ended during each of ${row.attempts - 1} attempts`;
    if (!wasHandled(row)) return this.#recordDead(messageIn(row), 'row', error);
    const startedAt = performance.now();
    const outcome = await this.#whenDatabaseIsThere(() => this.#recordReplyFailure(row, error));
    this.#report(messageIn(row), outcome, startedAt, error);
  }

  /** One attempt at one message. Resolves when its outcome is recorded. */
  async #attempt(read: ReadEvent, body: Uint8Array, origin: Origin, attempts: number, alone = false): Promise<void> {
    const startedAt = performance.now();
    if ('unreadable' in read) return this.#recordUnreadable(read.unreadable, body, origin);
    const { event } = read;
    const message = { messageId: event.id, type: event.type, subject: event.subject, body };
    const handler = this.#options.handlers[event.type];
    if (!handler) return this.#recordDead(message, origin, `${event.type} is not for this service`, true);

    const work: Work = { message, event, handler, origin, attempts };
    this.#running++;
    try {
      const { outcome, error } = await this.#settle(
        async () => {
          await handler.prepare?.(event);
          const [outcome] = alone ? await this.#transactions.commit([work]) : [await this.#commits.submit(work)];
          return outcome as HandlingOutcome;
        },
        (error) => this.#recordFailure(work, error),
      );
      this.#report(message, outcome, startedAt, error);
    } finally {
      this.#running--;
    }
  }

  /** One attempt at sending the reply to a message again that was handled before. Resolves when its outcome is recorded. */
  async #resendReply(row: ClaimedMessage, alone: boolean): Promise<void> {
    const startedAt = performance.now();
    const message = messageIn(row);
    const { outcome, error } = await this.#settle(
      async () => {
        await (alone ? this.#transactions.repeat([message]) : this.#replies.submit(message));
        return 'repeated';
      },
      (error) => this.#recordReplyFailure(row, error),
    );
    this.#report(message, outcome, startedAt, error);
  }

  /** The outcome of an attempt, or what `recordFailure` makes of its error. Neither is charged with the database's absence. */
  #settle(
    attempt: () => Promise<HandlingOutcome>,
    recordFailure: (error: unknown) => Promise<HandlingOutcome>,
  ): Promise<{ readonly outcome: HandlingOutcome; readonly error?: unknown }> {
    return this.#whenDatabaseIsThere(async () => {
      try {
        return { outcome: await attempt() };
      } catch (error) {
        if (isAway(error)) throw error;
        return { outcome: await recordFailure(error), error };
      }
    });
  }

  async #recordFailure({ message, origin, attempts }: Work, error: unknown): Promise<HandlingOutcome> {
    const status = attempts >= this.#options.attempts ? 'dead' : 'retrying';
    const failure = { error: messageOf(error), delayMs: this.#delayMs(attempts) };
    const isRecorded = await this.#transactions.fail(message, origin, { ...failure, status, unreadable: false });
    // It was handled before, so what failed is its reply: the row sends it from now on.
    if (!isRecorded && (await this.#transactions.requestReply(message.messageId, failure))) return 'reply-retrying';
    return status;
  }

  async #recordReplyFailure(
    { message_id: messageId, attempts }: ClaimedMessage,
    error: unknown,
  ): Promise<HandlingOutcome> {
    const isLast = attempts >= this.#options.attempts;
    const failure = { error: messageOf(error), delayMs: this.#delayMs(attempts), isLast };
    await this.#transactions.failReply(messageId, failure);
    return isLast ? 'reply-dead' : 'reply-retrying';
  }

  #delayMs(failures: number): number {
    const { retryBaseMs, retryMaxMs } = this.#options;
    return backoff(failures, retryBaseMs, retryMaxMs);
  }

  async #recordDead(message: NewMessage, origin: Origin, error: string, unreadable = false): Promise<void> {
    const startedAt = performance.now();
    const failure = { status: 'dead', error, delayMs: 0, unreadable } as const;
    await this.#whenDatabaseIsThere(() => this.#transactions.fail(message, origin, failure));
    this.#report(message, 'dead', startedAt, error);
    if (unreadable) for (const listener of this.#unreadableListeners) listener();
  }

  /** Under the row's own id where it waits in one, whatever the body says. */
  #recordUnreadable(unreadable: Unreadable, body: Uint8Array, origin: Origin, messageId = unreadable.messageId) {
    const isCut = body.byteLength > MAX_STORED_BYTES;
    const stored = isCut ? { body: body.subarray(0, MAX_STORED_BYTES), originalBytes: body.byteLength } : { body };
    return this.#recordDead({ ...unreadable, messageId, ...stored }, origin, unreadable.error, true);
  }

  /**
   * Runs `work` until the database is there for it, or stop() is called. No attempt is charged, and the transport feels
   * backpressure: what waits here is bounded by what it leaves unacknowledged.
   */
  async #whenDatabaseIsThere<T>(work: () => Promise<T>): Promise<T> {
    for (let failures = 1; ; failures++) {
      try {
        return await work();
      } catch (error) {
        if (!isAway(error) || this.#stopping.signal.aborted) throw error;
        if (failures === 1) this.#options.log.warn({ error: messageOf(error) }, 'waiting for the database');
        await delay(backoff(failures, AWAY_BASE_MS, AWAY_MAX_MS), undefined, { signal: this.#stopping.signal });
      }
    }
  }

  #report(message: Omit<NewMessage, 'body'>, outcome: HandlingOutcome, startedAt: number, error?: unknown): void {
    const { log, handlers, onOutcome, subjectName = 'subject' } = this.#options;
    const now = performance.now();
    this.#lastProgress = now;
    const ms = now - startedAt;
    const { type = UNKNOWN } = message;
    // A message from outside may name any type, and each one would be a time series of its own.
    onOutcome?.(Object.hasOwn(handlers, type) ? type : UNKNOWN, outcome, ms / 1000);
    const line = { event: type, [subjectName]: message.subject, ms: Math.round(ms * 10) / 10, outcome };
    if (error === undefined) log.info(line);
    else log[isFinal(outcome) ? 'error' : 'warn']({ ...line, messageId: message.messageId, error: messageOf(error) });
  }
}

/** Of a message that was handled, only the reply is wanted again. */
const wasHandled = ({ status }: ClaimedMessage) => status === 'done' || status === 'dead';

const messageIn = ({ message_id: messageId, type, subject, body }: ClaimedMessage): NewMessage => ({
  messageId,
  type: type ?? undefined,
  subject: subject ?? undefined,
  body: body ?? new Uint8Array(),
});

const isFinal = (outcome: HandlingOutcome) => outcome === 'dead' || outcome === 'reply-dead';

const isAway = (error: unknown) => error instanceof DatabaseUnavailable || error instanceof Overloaded;

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
