// What the inbox does in one transaction each: the effects of messages with their replies, resent replies, a failure with
// the event that reports it. Messages that wait at the same time share a transaction; if it fails, each gets its own.
import { v7 as uuidv7 } from 'uuid';
import { GroupCommit } from '../database/group-commit.ts';
import type { Transaction } from '../database/port.ts';
import type { HandlingOutcome } from '../observability/log-format.ts';
import { groupBy } from '../runtime/group-by.ts';
import { failpoint } from './failpoints.ts';
import type { AnyHandler } from './handler.ts';
import type { NewMessage, ReadableMessage } from './inbox-message.ts';
import type { InboxOptions } from './inbox-options.ts';
import type { Failure, InboxStore } from './inbox-store.ts';
import type { ReplyStore } from './reply-store.ts';

/** Messages in one transaction at the most. */
const MAX_BATCH = 500;
/** Under load, how long messages are gathered for the next transaction. */
const GATHER_MS = 20;

/** A message has just arrived, or it waits in a row that this process has claimed. */
export type Origin = 'arrival' | 'row';

/** An attempt at a readable message. */
export interface Attempt {
  readonly message: ReadableMessage;
  readonly handler: AnyHandler;
  readonly origin: Origin;
}

interface InboxTransactionsOptions
  extends Pick<InboxOptions, 'database' | 'handlers' | 'onDead' | 'prefetch' | 'maxRows'> {
  readonly store: InboxStore;
  readonly replies: ReplyStore;
}

export class InboxTransactions {
  readonly #options: InboxTransactionsOptions;
  readonly #shared: GroupCommit<Attempt, HandlingOutcome>;
  readonly #alone: GroupCommit<Attempt, HandlingOutcome>;
  readonly #resends: GroupCommit<string, undefined>;

  constructor(options: InboxTransactionsOptions) {
    this.#options = options;
    const { prefetch, maxRows } = options;
    const attempts = {
      run: (batch: Attempt[]) => this.#commitBatch(batch),
      key: ({ message }: Attempt) => message.messageId,
      // Twice, because a transport that lost its connection redelivers the messages that are being processed.
      maxWaiting: 2 * prefetch + maxRows,
    };
    this.#shared = new GroupCommit({ ...attempts, maxBatch: MAX_BATCH, gatherMs: GATHER_MS });
    this.#alone = new GroupCommit({ ...attempts, maxBatch: 1 });
    this.#resends = new GroupCommit({
      run: async (ids) => {
        await this.#resendBatch(ids);
        return ids.map(() => undefined);
      },
      key: (id) => id,
      maxBatch: MAX_BATCH,
      gatherMs: GATHER_MS,
      maxWaiting: maxRows,
    });
  }

  /** Commits the effects of a message together with the message's id. */
  commit(attempt: Attempt, { alone = false } = {}): Promise<HandlingOutcome> {
    return (alone ? this.#alone : this.#shared).submit(attempt);
  }

  /** Resends the reply to a message that was processed before, as its row was asked to. */
  async resendReply(messageId: string, { alone = false } = {}): Promise<void> {
    await (alone ? this.#resendBatch([messageId]) : this.#resends.submit(messageId));
  }

  /**
   * Records that an attempt failed, and reports a dead message by an event. Returns false, and changes nothing, if the
   * message is an arrival that is known.
   */
  async fail(message: NewMessage, origin: Origin, outcome: Omit<Failure, 'failureId'>): Promise<boolean> {
    const { database, store, onDead } = this.#options;
    const isReported = outcome.status === 'dead' && onDead !== undefined && message.subject !== undefined;
    const failure = { ...outcome, failureId: isReported ? uuidv7() : undefined };
    return database.transaction(async (tx) => {
      if (origin === 'row') await store.fail(tx, message.messageId, failure);
      else if (!(await store.addFailed(tx, message, failure))) return false;
      if (isReported) await this.#reportDead(tx, [message.messageId]);
      return true;
    });
  }

  async #commitBatch(batch: readonly Attempt[]): Promise<HandlingOutcome[]> {
    failpoint('inbox.before-transaction');
    const { database, store } = this.#options;
    const outcomes = await database.transaction(async (tx) => {
      const claimed = await store.claimNew(tx, ofOrigin(batch, 'arrival'));
      for (const id of await store.markDone(tx, ofOrigin(batch, 'row'))) claimed.add(id);
      // `delete` lets only one through if the batch holds an id twice.
      const isClaimed = batch.map(({ message }) => claimed.delete(message.messageId));

      const byHandler = groupBy(
        batch.filter((_, index) => isClaimed[index]),
        ({ handler }) => handler,
      );
      for (const [handler, attempts] of byHandler) {
        await handler.handle(
          tx,
          attempts.map(({ message }) => message.event),
        );
      }
      const again = batch.filter((_, index) => !isClaimed[index]);
      await this.#resendReplies(
        tx,
        ofOrigin(again, 'arrival').map(({ messageId }) => messageId),
      );
      return isClaimed.map((isNew): HandlingOutcome => (isNew ? 'done' : 'repeated'));
    });
    failpoint('inbox.after-commit');
    return outcomes;
  }

  async #resendBatch(ids: readonly string[]): Promise<void> {
    const { database, replies } = this.#options;
    await database.transaction(async (tx) => {
      await this.#resendReplies(tx, ids);
      await replies.complete(tx, ids);
    });
  }

  /** Puts the replies to messages that were processed before into the outbox: the report of a dead one is its reply. */
  async #resendReplies(tx: Transaction, ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    const { store, handlers } = this.#options;
    const known = await store.known(tx, ids);
    const done = groupBy(
      known.filter(({ status }) => status === 'done'),
      ({ type }) => handlers[type ?? ''],
    );
    for (const [handler, rows] of done) {
      await handler?.resendReplies?.(
        tx,
        rows.flatMap(({ subject }) => subject ?? []),
      );
    }
    const dead = known.filter(({ status }) => status === 'dead').map(({ message_id }) => message_id);
    if (dead.length > 0) await this.#reportDead(tx, dead);
  }

  async #reportDead(tx: Transaction, ids: readonly string[]): Promise<void> {
    const { store, onDead } = this.#options;
    if (!onDead) return;
    const dead = await store.reported(tx, ids);
    if (dead.length > 0) await onDead(tx, dead);
  }
}

const ofOrigin = (batch: readonly Attempt[], origin: Origin) =>
  batch.filter((attempt) => attempt.origin === origin).map(({ message }) => message);
