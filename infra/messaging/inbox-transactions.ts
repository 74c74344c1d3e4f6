// The transactions of the inbox: the effects of messages with their replies, resent replies, a failure
// with the event that reports it. Messages that wait at the same time share a transaction; if it fails, each has one.
import type { Logger } from 'pino';
import { v7 as uuidv7 } from 'uuid';
import { MAX_BATCH_EVENTS } from '../bus/port.ts';
import { GroupCommit } from '../database/group-commit.ts';
import type { Database, Transaction } from '../database/port.ts';
import type { HandlingOutcome } from '../observability/log-format.ts';
import { groupBy } from '../runtime/collections.ts';
import type { NewMessage, ReadableMessage } from './envelope.ts';
import { failpoint } from './failpoints.ts';
import type { AnyHandlers, EventCatalogue, OnDead } from './handler.ts';
import type { Failure, InboxStore } from './inbox-store.ts';

export interface InboxOptions {
  readonly database: Database;
  /** The service's schema, which holds the table. */
  readonly schema: string;
  readonly catalogue: EventCatalogue;
  readonly handlers: AnyHandlers;
  readonly onDead?: OnDead | undefined;
  /** The name of a message's subject in log lines. */
  readonly subjectName?: string | undefined;
  /** Attempts at a message before it is dead, and the delays between them. */
  readonly attempts: number;
  readonly retryBaseMs: number;
  readonly retryMaxMs: number;
  /** After this, a claimed row may be claimed again: must exceed the slowest handler. */
  readonly leaseMs: number;
  /** Events that a transport passes on at a time; redeliveries and the other events of the last message may exceed it. */
  readonly prefetch: number;
  /** Maximum number of rows that this process processes at a time. */
  readonly maxRows: number;
  /** How soon rows are found whose delay is over, or that another process wrote. */
  readonly pollMs: number;
  /** How long done messages are kept. */
  readonly retentionDays: number;
  /** How long dead messages are kept, discarded or not. */
  readonly failedRetentionDays: number;
  readonly log: Logger;
  /** Called for every message whose outcome is recorded. `type` is one of `handlers`, or `unknown`. */
  readonly onOutcome?: (type: string, outcome: HandlingOutcome, seconds: number) => void;
  /** Called with the number of unreadable messages that were deleted. */
  readonly onUnreadablePruned?: (count: number) => void;
}

/** Maximum number of messages in one transaction. */
const MAX_BATCH = 500;
/** While messages come steadily, they are gathered for the next transaction this long, or until GATHER_UNTIL wait. */
const GATHER_MS = 50;
const GATHER_UNTIL = 32;

/** A message has just arrived, or it waits in a row that this process has claimed. */
export type Origin = 'arrival' | 'row';

/** An attempt at a message of a type that has a handler. */
interface Attempt {
  readonly message: ReadableMessage;
  readonly origin: Origin;
}

export class InboxTransactions {
  readonly #options: InboxOptions & { readonly store: InboxStore };
  readonly #shared: GroupCommit<Attempt, HandlingOutcome>;
  readonly #alone: GroupCommit<Attempt, HandlingOutcome>;
  readonly #resends: GroupCommit<string, string>;

  constructor(options: InboxOptions & { readonly store: InboxStore }) {
    this.#options = options;
    const { prefetch, maxRows } = options;
    const attempts = {
      run: (batch: Attempt[]) => this.#commitBatch(batch),
      key: ({ message }: Attempt) => message.messageId,
      // Twice, because a transport that lost its connection redelivers the messages that are being processed.
      maxWaiting: 2 * prefetch + MAX_BATCH_EVENTS + maxRows,
    };
    const shared = { maxBatch: MAX_BATCH, gatherMs: GATHER_MS, gatherUntil: Math.min(GATHER_UNTIL, prefetch) };
    this.#shared = new GroupCommit({ ...attempts, ...shared });
    this.#alone = new GroupCommit({ ...attempts, maxBatch: 1 });
    const resend = (ids: string[]) => this.#resendBatch(ids);
    this.#resends = new GroupCommit({ ...shared, run: resend, key: (id) => id, maxWaiting: maxRows });
  }

  /** Commits the effects of a message together with the message's id. */
  commit(attempt: Attempt, { alone = false } = {}): Promise<HandlingOutcome> {
    return (alone ? this.#alone : this.#shared).submit(attempt);
  }

  /** Resends the reply to a message that was processed before, because its row says `reply_requested`. */
  async resendReply(messageId: string, { alone = false } = {}): Promise<HandlingOutcome> {
    await (alone ? this.#resendBatch([messageId]) : this.#resends.submit(messageId));
    return 'duplicate';
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
      const markedDone = await store.addDone(tx, ofOrigin(batch, 'arrival'));
      for (const id of await store.markDone(tx, ofOrigin(batch, 'row'))) markedDone.add(id);
      // `delete` lets only one through if the batch holds an id twice.
      const isNew = batch.map(({ message }) => markedDone.delete(message.messageId));
      const fresh = batch.filter((_, index) => isNew[index]);
      await this.#handle(tx, fresh);
      const again = batch.filter((_, index) => !isNew[index]);
      await this.#resendReplies(tx, idsOf(ofOrigin(again, 'arrival')));
      return isNew.map((each): HandlingOutcome => (each ? 'done' : 'duplicate'));
    });
    failpoint('inbox.after-commit');
    return outcomes;
  }

  async #handle(tx: Transaction, attempts: readonly Attempt[]): Promise<void> {
    const { handlers } = this.#options;
    const events = attempts.map(({ message }) => message.event);
    for (const [handler, its] of groupBy(events, ({ type }) => handlers[type])) {
      if (!handler) throw new Error(`no handler for ${its[0]?.type}`);
      await handler.handle(tx, its);
    }
  }

  async #resendBatch(ids: string[]): Promise<string[]> {
    const { database, store } = this.#options;
    await database.transaction(async (tx) => {
      await this.#resendReplies(tx, ids);
      await store.completeReplies(tx, ids);
    });
    return ids;
  }

  /** Puts the replies to messages that were processed before into the outbox: the report of a dead one is its reply. */
  async #resendReplies(tx: Transaction, ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    const { store, handlers } = this.#options;
    const known = await store.known(tx, ids);
    const done = known.filter(({ status }) => status === 'done');
    for (const [handler, rows] of groupBy(done, ({ type }) => handlers[type ?? ''])) {
      const subjects = rows.flatMap(({ subject }) => subject ?? []);
      await handler?.resendReplies?.(tx, subjects);
    }
    const dead = known.filter(({ status }) => status === 'dead').map(({ message_id }) => message_id);
    if (dead.length === 0) return;
    await store.keepDiscarded(tx, dead);
    await this.#reportDead(tx, dead);
  }

  async #reportDead(tx: Transaction, ids: readonly string[]): Promise<void> {
    const { store, onDead } = this.#options;
    if (!onDead) return;
    const dead = await store.reported(tx, ids);
    if (dead.length > 0) await onDead(tx, dead);
  }
}

const idsOf = (messages: readonly NewMessage[]) => messages.map(({ messageId }) => messageId);

const ofOrigin = (batch: readonly Attempt[], origin: Origin) =>
  batch.filter((attempt) => attempt.origin === origin).map(({ message }) => message);
