// One attempt at one message, and its outcome: done, to be retried after a delay, or dead. A message that was processed
// before has only its reply resent, which is retried in the same way.
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { isUnavailable } from '../database/port.ts';
import type { HandlingOutcome } from '../observability/log-format.ts';
import { backoff } from '../runtime/backoff.ts';
import { reasonOf } from '../runtime/reason.ts';
import { type NewMessage, type ReadableMessage, readMessage, storable, type UnreadableMessage } from './envelope.ts';
import type { ClaimedMessage, InboxStore } from './inbox-store.ts';
import { type InboxOptions, InboxTransactions, type Origin } from './inbox-transactions.ts';

/** Pauses while the database is away. */
const UNAVAILABLE_BASE_MS = 100;
const UNAVAILABLE_MAX_MS = 5_000;

/** Stands for every type that the service does not handle. */
const UNKNOWN = 'unknown';

export interface InboxProcessorOptions extends InboxOptions {
  readonly store: InboxStore;
  /** Aborted when the inbox stops: the database is no longer waited for, and no more rows are claimed. */
  readonly signal: AbortSignal;
  /** Called for each unreadable message that is recorded. */
  readonly onUnreadable: () => void;
}

interface AttemptOptions {
  readonly origin: Origin;
  /** Including this one. */
  readonly attempts: number;
  /** The attempt shares its transaction with no other message. */
  readonly alone?: boolean;
}

interface FailedAttempt {
  readonly error: unknown;
  /** Unknown if the process ended during the attempt. */
  readonly durationMs?: number;
  /** Its number, if that is not the number of the attempt that is under way. */
  readonly attempt?: number;
}

export class InboxProcessor {
  readonly #options: InboxProcessorOptions;
  readonly #transactions: InboxTransactions;
  #running = 0;

  constructor(options: InboxProcessorOptions) {
    this.#options = options;
    this.#transactions = new InboxTransactions(options);
  }

  /** Messages that are being processed. */
  get running(): number {
    return this.#running;
  }

  /**
   * One attempt at a message. Resolves when its outcome is recorded. While the database is away, it waits and no
   * attempt is charged; the transport limits how many messages wait here.
   */
  async process(message: ReadableMessage | UnreadableMessage, options: AttemptOptions): Promise<void> {
    if ('error' in message) return this.#recordUnreadable(message, options.origin, message.error);
    const { event } = message;
    const handler = this.#options.handlers[event.type];
    if (!handler) return this.#recordUnreadable(message, options.origin, `${event.type} is not for this service`);

    const work = async () => {
      await handler.prepare?.(event);
      return this.#transactions.commit({ message, origin: options.origin }, options);
    };
    this.#running++;
    try {
      await this.#attempt(message, work, (failed) => this.#recordFailure(message, failed, options));
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
    const work = () => this.#transactions.resendReply(messageId, { alone });
    return this.#attempt(messageIn(row), work, (failed) => this.#recordReplyFailure(row, failed));
  }

  /**
   * Ends a claimed row whose attempts are used up and whose last attempt never finished: marks the message dead or,
   * if it was processed before, stops resending its reply.
   */
  markDead(row: ClaimedMessage): Promise<void> {
    const attempts = row.attempts - 1;
    const last = attempts === 1 ? 'the only attempt' : `the last of ${attempts} attempts`;
    const error = `the process ended during ${last}`;
    if (!wasProcessed(row))
      return this.#recordDead(messageIn(row), 'row', { error, unreadable: false, attempt: attempts });
    return this.#record(messageIn(row), async () => ({
      outcome: await this.#recordReplyFailure(row, { error, attempt: attempts }),
      error,
    }));
  }

  /** Records an arrival as dead. */
  deadLetter(message: ReadableMessage | UnreadableMessage, reason: string): Promise<void> {
    if ('error' in message) return this.#recordUnreadable(message, 'arrival', message.error);
    return this.#recordDead(message, 'arrival', { error: reason, unreadable: false, attempt: 1 });
  }

  /** Runs `work` and reports its outcome; if it throws, the outcome that `recordFailure` returns. */
  #attempt(
    message: NewMessage,
    work: () => Promise<HandlingOutcome>,
    recordFailure: (failed: FailedAttempt) => Promise<HandlingOutcome>,
  ): Promise<void> {
    return this.#record(message, async () => {
      const startedAt = performance.now();
      try {
        return { outcome: await work() };
      } catch (error) {
        if (isUnavailable(error)) throw error;
        const durationMs = Math.round(performance.now() - startedAt);
        return { outcome: await recordFailure({ error, durationMs }), error };
      }
    });
  }

  async #recordFailure(message: NewMessage, failed: FailedAttempt, options: AttemptOptions): Promise<HandlingOutcome> {
    const { origin, attempts } = options;
    const { database, store } = this.#options;
    const status = attempts >= this.#options.attempts ? 'dead' : 'retrying';
    const failure = this.#failure(failed, attempts);
    const isRecorded = await this.#transactions.fail(message, origin, { ...failure, status, unreadable: false });
    if (isRecorded) return status;
    // The message was processed before, so its reply has failed: from now on, the worker resends it from its row.
    const isRequested = await store.requestReply(database, message.messageId, failure);
    return isRequested ? 'reply-retrying' : status;
  }

  async #recordReplyFailure({ message_id, attempts }: ClaimedMessage, failed: FailedAttempt): Promise<HandlingOutcome> {
    const { database, store } = this.#options;
    const isLast = attempts >= this.#options.attempts;
    await store.failReply(database, message_id, { ...this.#failure(failed, attempts), isLast });
    return isLast ? 'reply-dead' : 'reply-retrying';
  }

  #failure({ error, durationMs, attempt }: FailedAttempt, attempts: number) {
    const { retryBaseMs, retryMaxMs } = this.#options;
    return {
      error: storable(reasonOf(error)),
      delayMs: backoff(attempts, retryBaseMs, retryMaxMs),
      attempt: attempt ?? attempts,
      durationMs,
    };
  }

  #recordDead(
    message: NewMessage,
    origin: Origin,
    about: { error: string; unreadable: boolean; attempt: number },
  ): Promise<void> {
    const { error, unreadable, attempt } = about;
    return this.#record(message, async () => {
      const text = storable(error);
      const failure = { status: 'dead', error: text, delayMs: 0, unreadable, attempt, durationMs: undefined } as const;
      const isRecorded = await this.#transactions.fail(message, origin, failure);
      return isRecorded ? { outcome: 'dead', error } : this.#replyAgain(message);
    });
  }

  /** A known message has arrived again; an operator may have corrected or discarded it. */
  async #replyAgain({ messageId }: NewMessage): Promise<{ outcome: HandlingOutcome; error?: unknown }> {
    try {
      return { outcome: await this.#transactions.resendReply(messageId) };
    } catch (error) {
      if (isUnavailable(error)) throw error;
      const { database, store } = this.#options;
      await store.requestReply(database, messageId, this.#failure({ error, durationMs: 0 }, 1));
      return { outcome: 'reply-retrying', error };
    }
  }

  async #recordUnreadable(message: NewMessage, origin: Origin, error: string): Promise<void> {
    await this.#recordDead(message, origin, { error, unreadable: true, attempt: 1 });
    this.#options.onUnreadable();
  }

  /** Runs `work`, repeating it while the database is unavailable, and reports its outcome. `error`: for the log. */
  async #record(
    message: NewMessage,
    work: () => Promise<{ outcome: HandlingOutcome; error?: unknown }>,
  ): Promise<void> {
    const { log, handlers, onOutcome, subjectName = 'subject' } = this.#options;
    const startedAt = performance.now();
    const { outcome, error } = await retryUnavailable(work, this.#options);
    const ms = performance.now() - startedAt;
    const { messageId, type = UNKNOWN, subject } = message;
    // A message from outside may name any type, and each would be a time series of its own.
    onOutcome?.(Object.hasOwn(handlers, type) ? type : UNKNOWN, outcome, ms / 1000);
    const line = { event: type, [subjectName]: subject, ms: Math.round(ms * 10) / 10, outcome };
    if (error === undefined) return log.info(line);
    const isFinal = outcome === 'dead' || outcome === 'reply-dead';
    log[isFinal ? 'error' : 'warn']({ ...line, messageId, error: reasonOf(error) });
  }
}

const wasProcessed = ({ status }: ClaimedMessage) => status === 'done' || status === 'dead';

const messageIn = ({ message_id: messageId, type, subject, body }: ClaimedMessage): NewMessage => ({
  messageId,
  type: type ?? undefined,
  subject: subject ?? undefined,
  body: body ?? new Uint8Array(),
});

/** Repeats `work` while the database is unavailable. Rejects with its last error once `signal` is aborted. */
export async function retryUnavailable<T>(
  work: () => Promise<T>,
  { signal, log }: { readonly signal: AbortSignal; readonly log: Logger },
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await work();
    } catch (error) {
      if (!isUnavailable(error) || signal.aborted) throw error;
      if (failures === 1) log.warn({ error: error.message }, 'waiting for the database');
      await delay(backoff(failures, UNAVAILABLE_BASE_MS, UNAVAILABLE_MAX_MS), undefined, { signal }).catch(() => {
        throw error; // not the AbortError, because callers tell an unavailable database from a failure
      });
    }
  }
}
