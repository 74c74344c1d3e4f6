// One attempt at one message, and its outcome: done, to be retried after a delay, or dead. A message that was processed
// before has only its reply resent, which is retried in the same way.
import { isUnavailable, retryUnavailable } from '../database/retry-unavailable.ts';
import type { HandlingOutcome } from '../observability/log-format.ts';
import { backoff } from '../runtime/backoff.ts';
import { storable } from './envelope.ts';
import { type NewMessage, type ReadableMessage, readMessage, type UnreadableMessage } from './inbox-message.ts';
import type { InboxOptions } from './inbox-options.ts';
import type { ClaimedMessage, InboxStore } from './inbox-store.ts';
import { InboxTransactions, type Origin } from './inbox-transactions.ts';
import { ReplyStore } from './reply-store.ts';

/** Stands for every type that the service does not handle. */
const UNKNOWN = 'unknown';

interface InboxProcessorOptions extends Omit<InboxOptions, 'onOutcome'> {
  readonly store: InboxStore;
  /** Aborted when the inbox stops: the database is no longer waited for. */
  readonly signal: AbortSignal;
  readonly onOutcome: Required<InboxOptions>['onOutcome'];
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
   * One attempt at a message. Resolves when its outcome is recorded. While the database is away, it waits and no attempt
   * is charged; the transport limits how many messages wait here.
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
      // The row's id is the key, even if an unreadable body contains another one.
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

  /** Marks a claimed row dead whose attempts are used up and never finished, or ends the attempts to resend its reply. */
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

  /** Runs `work` and reports its outcome; if it throws, the outcome that `recordFailure` returns. */
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
