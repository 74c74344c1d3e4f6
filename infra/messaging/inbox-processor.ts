// One attempt at one message, and its outcome: done, to be retried after a delay, or dead. A message that was processed
// before has only its reply resent, which is retried in the same way.
import type { Logger } from 'pino';
import type { Database } from '../database/port.ts';
import { isUnavailable, retryUnavailable } from '../database/retry-unavailable.ts';
import type { HandlingOutcome } from '../observability/log-format.ts';
import { backoff } from '../runtime/backoff.ts';
import type { EventCatalogue } from './catalogue.ts';
import { storable } from './envelope.ts';
import type { AnyHandlers, OnDead } from './handler.ts';
import { type NewMessage, type ReadableMessage, readMessage, type UnreadableMessage } from './inbox-message.ts';
import type { ClaimedMessage, InboxStore } from './inbox-store.ts';
import { InboxTransactions, type Origin } from './inbox-transactions.ts';
import { ReplyStore } from './reply-store.ts';

/** Stands for every type that the service does not handle. */
const UNKNOWN = 'unknown';

export interface InboxProcessorOptions {
  readonly database: Database;
  readonly schema: string;
  readonly store: InboxStore;
  readonly catalogue: EventCatalogue;
  readonly handlers: AnyHandlers;
  readonly onDead?: OnDead | undefined;
  readonly subjectName?: string | undefined;
  readonly attempts: number;
  readonly retryBaseMs: number;
  readonly retryMaxMs: number;
  readonly prefetch: number;
  readonly maxRows: number;
  /** Aborted when the inbox stops: the database is no longer waited for. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly onOutcome: (type: string, outcome: HandlingOutcome, seconds: number) => void;
  /** Called for each unreadable message that is recorded. */
  readonly onUnreadable: () => void;
}

interface AttemptOptions {
  readonly origin: Origin;
  /** Including this one. */
  readonly attempts: number;
  /** In a transaction that it shares with no other message. */
  readonly alone?: boolean;
}

export class InboxProcessor {
  readonly #options: InboxProcessorOptions;
  readonly #replies: ReplyStore;
  readonly #transactions: InboxTransactions;
  #running = 0;

  constructor(options: InboxProcessorOptions) {
    this.#options = options;
    this.#replies = new ReplyStore(options.schema);
    this.#transactions = new InboxTransactions({ ...options, replies: this.#replies });
  }

  /** Messages that are being processed. */
  get running(): number {
    return this.#running;
  }

  /**
   * One attempt at a message. Resolves when its outcome is recorded. Waits while the database is away: no attempt is
   * charged, and the transport feels backpressure, as it limits how many messages wait here.
   */
  async process(
    message: ReadableMessage | UnreadableMessage,
    { origin, attempts, alone = false }: AttemptOptions,
  ): Promise<void> {
    if ('error' in message) return this.#recordUnreadable(message, origin, message.error);
    const { event } = message;
    const handler = this.#options.handlers[event.type];
    if (!handler) return this.#recordUnreadable(message, origin, `${event.type} is not for this service`);

    this.#running++;
    try {
      await this.#attempt(
        message,
        async () => {
          await handler.prepare?.(event);
          return this.#transactions.commit({ message, handler, origin }, { alone });
        },
        (error) => this.#recordFailure(message, error, { origin, attempts }),
      );
    } finally {
      this.#running--;
    }
  }

  /** One attempt at a claimed row. */
  processClaimed(row: ClaimedMessage, { alone = false } = {}): Promise<void> {
    const { message_id: messageId, attempts } = row;
    if (!wasProcessed(row)) {
      // Under the row's own id, whatever the body says.
      const message = { ...readMessage(this.#options.catalogue, messageIn(row).body), messageId };
      return this.process(message, { origin: 'row', attempts, alone });
    }
    return this.#attempt(
      messageIn(row),
      async () => {
        await this.#transactions.resendReply(messageId, { alone });
        return 'repeated';
      },
      (error) => this.#recordReplyFailure(row, error),
    );
  }

  /** Marks a claimed row dead if its last attempt did not finish either; of a processed message, ends the resending. */
  async markDead(row: ClaimedMessage): Promise<void> {
    const error = `the process ended during each of ${row.attempts - 1} attempts`;
    if (!wasProcessed(row)) return this.#recordDead(messageIn(row), 'row', { error, unreadable: false });
    const startedAt = performance.now();
    const outcome = await this.#whenAvailable(() => this.#recordReplyFailure(row, error));
    this.#report(messageIn(row), outcome, { startedAt, error });
  }

  /** Records an arrival as dead. */
  deadLetter(message: ReadableMessage | UnreadableMessage, reason: string): Promise<void> {
    if ('error' in message) return this.#recordUnreadable(message, 'arrival', message.error);
    return this.#recordDead(message, 'arrival', { error: reason, unreadable: false });
  }

  /** Runs `work`, or records its failure. The absence of the database is charged to neither. */
  async #attempt(
    message: NewMessage,
    work: () => Promise<HandlingOutcome>,
    recordFailure: (error: unknown) => Promise<HandlingOutcome>,
  ): Promise<void> {
    const startedAt = performance.now();
    const { outcome, error } = await this.#whenAvailable(async () => {
      try {
        return { outcome: await work(), error: undefined };
      } catch (error) {
        if (isUnavailable(error)) throw error;
        return { outcome: await recordFailure(error), error };
      }
    });
    this.#report(message, outcome, { startedAt, error });
  }

  async #recordFailure(
    message: NewMessage,
    error: unknown,
    { origin, attempts }: AttemptOptions,
  ): Promise<HandlingOutcome> {
    const status = attempts >= this.#options.attempts ? 'dead' : 'retrying';
    const failure = this.#failure(error, attempts);
    const isRecorded = await this.#transactions.fail(message, origin, { ...failure, status, unreadable: false });
    if (isRecorded) return status;
    // The message was processed before, so its reply has failed: from now on, the row resends it.
    const isRequested = await this.#replies.request(this.#options.database, message.messageId, failure);
    return isRequested ? 'reply-retrying' : status;
  }

  async #recordReplyFailure(
    { message_id: messageId, attempts }: ClaimedMessage,
    error: unknown,
  ): Promise<HandlingOutcome> {
    const isLast = attempts >= this.#options.attempts;
    await this.#replies.fail(this.#options.database, messageId, { ...this.#failure(error, attempts), isLast });
    return isLast ? 'reply-dead' : 'reply-retrying';
  }

  #failure(error: unknown, attempts: number): { readonly error: string; readonly delayMs: number } {
    const { retryBaseMs, retryMaxMs } = this.#options;
    return { error: storable(messageOf(error)), delayMs: backoff(attempts, retryBaseMs, retryMaxMs) };
  }

  async #recordDead(
    message: NewMessage,
    origin: Origin,
    { error, unreadable }: { readonly error: string; readonly unreadable: boolean },
  ): Promise<void> {
    const startedAt = performance.now();
    const failure = { status: 'dead', error: storable(error), delayMs: 0, unreadable } as const;
    await this.#whenAvailable(() => this.#transactions.fail(message, origin, failure));
    this.#report(message, 'dead', { startedAt, error });
  }

  async #recordUnreadable(message: NewMessage, origin: Origin, error: string): Promise<void> {
    await this.#recordDead(message, origin, { error, unreadable: true });
    this.#options.onUnreadable();
  }

  #whenAvailable<T>(work: () => Promise<T>): Promise<T> {
    return retryUnavailable(work, this.#options);
  }

  #report(
    { messageId, type = UNKNOWN, subject }: NewMessage,
    outcome: HandlingOutcome,
    { startedAt, error }: { readonly startedAt: number; readonly error: unknown },
  ): void {
    const { log, handlers, onOutcome, subjectName = 'subject' } = this.#options;
    const ms = performance.now() - startedAt;
    // A message from outside may name any type, and each would be a time series of its own.
    onOutcome(Object.hasOwn(handlers, type) ? type : UNKNOWN, outcome, ms / 1000);
    const line = { event: type, [subjectName]: subject, ms: Math.round(ms * 10) / 10, outcome };
    if (error === undefined) log.info(line);
    else log[isFinal(outcome) ? 'error' : 'warn']({ ...line, messageId, error: messageOf(error) });
  }
}

const wasProcessed = ({ status }: ClaimedMessage) => status === 'done' || status === 'dead';

const isFinal = (outcome: HandlingOutcome) => outcome === 'dead' || outcome === 'reply-dead';

const messageIn = ({ message_id: messageId, type, subject, body }: ClaimedMessage): NewMessage => ({
  messageId,
  type: type ?? undefined,
  subject: subject ?? undefined,
  body: body ?? new Uint8Array(),
});

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
