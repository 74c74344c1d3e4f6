// What the inbox does in one transaction each: a batch with its effects and answers, a repetition, a failure.
import { v7 as uuidv7 } from 'uuid';
import type { Database, Transaction } from '../database/port.ts';
import type { HandlingOutcome } from '../observability/log-format.ts';
import { groupBy } from '../runtime/group-by.ts';
import type { CloudEvent } from './catalogue.ts';
import { storable } from './envelope.ts';
import { failpoint } from './failpoints.ts';
import type { AnyHandler, AnyHandlers, OnDead } from './handler.ts';
import type { Failure, InboxStore, NewMessage, ReplyFailure } from './inbox-store.ts';

/** A message has just arrived, or it waits in a row that this process has claimed. */
export type Origin = 'arrival' | 'row';

/** A readable message on its way through its handler. */
export interface Work {
  readonly message: NewMessage;
  readonly event: CloudEvent;
  readonly handler: AnyHandler;
  readonly origin: Origin;
  /** Including this one. */
  readonly attempts: number;
}

export interface InboxTransactionsOptions {
  readonly database: Database;
  readonly rows: InboxStore;
  readonly handlers: AnyHandlers;
  readonly onDead: OnDead | undefined;
}

export class InboxTransactions {
  readonly #options: InboxTransactionsOptions;

  constructor(options: InboxTransactionsOptions) {
    this.#options = options;
  }

  /** A batch in one transaction: its ids, its effects, its answers. */
  async commit(batch: Work[]): Promise<HandlingOutcome[]> {
    failpoint('inbox.before-transaction');
    const { database, rows } = this.#options;
    const outcomes = await database.transaction(async (tx) => {
      const taken = await rows.takeArrivals(tx, ofOrigin(batch, 'arrival'));
      for (const id of await rows.takeRows(tx, ofOrigin(batch, 'row'))) taken.add(id);

      // `delete` lets only one through where an id stands twice in the batch.
      const fresh = batch.map(({ message }) => taken.delete(message.messageId));
      const works = groupBy(
        batch.filter((_, index) => fresh[index]),
        ({ handler }) => handler,
      );
      for (const [handler, ofHandler] of works) {
        await handler.handle(
          tx,
          ofHandler.map(({ event }) => event),
        );
      }
      await this.#repeat(
        tx,
        batch.filter(({ origin }, index) => !fresh[index] && origin === 'arrival').map(({ message }) => message),
      );
      return fresh.map((isFresh): HandlingOutcome => (isFresh ? 'done' : 'repeated'));
    });
    failpoint('inbox.after-commit');
    return outcomes;
  }

  /** Puts the answers of messages that came again back into the outbox, whatever they were. */
  async #repeat(tx: Transaction, messages: readonly Pick<NewMessage, 'messageId'>[]): Promise<void> {
    if (messages.length === 0) return;
    const { rows, handlers } = this.#options;
    const known = await rows.known(
      tx,
      messages.map(({ messageId }) => messageId),
    );
    const done = groupBy(
      known.filter(({ status }) => status === 'done'),
      ({ type }) => handlers[type ?? ''],
    );
    for (const [handler, ofHandler] of done) {
      await handler?.repeat?.(
        tx,
        ofHandler.map(({ subject }) => subject ?? '').filter((subject) => subject !== ''),
      );
    }
    const dead = known.filter(({ status }) => status === 'dead').map(({ message_id }) => message_id);
    if (dead.length > 0) await this.#reportDead(tx, dead);
  }

  /** Repeats the answers of claimed rows that were asked for again. */
  async repeat(messages: readonly Pick<NewMessage, 'messageId'>[]): Promise<void> {
    const { database, rows } = this.#options;
    await database.transaction(async (tx) => {
      await this.#repeat(tx, messages);
      await rows.answered(
        tx,
        messages.map(({ messageId }) => messageId),
      );
    });
  }

  /** Records that an attempt to send a reply again failed. */
  failReply(messageId: string, failure: ReplyFailure): Promise<void> {
    const { database, rows } = this.#options;
    return rows.failReply(database, messageId, { ...failure, error: storable(failure.error) });
  }

  /** Leaves a reply that could not be sent again with its arrival to the row. Answers false if there is none to send. */
  requestReply(messageId: string, failure: Pick<ReplyFailure, 'error' | 'delayMs'>): Promise<boolean> {
    const { database, rows } = this.#options;
    return rows.requestReply(database, messageId, { ...failure, error: storable(failure.error) });
  }

  /**
   * Records that an attempt failed; the last one with the event that reports it. Answers false if it was an arrival that
   * is known already, whose row stays as it is.
   */
  async fail(message: NewMessage, origin: Origin, outcome: Omit<Failure, 'failureId'>): Promise<boolean> {
    const { database, rows, onDead } = this.#options;
    const reported = outcome.status === 'dead' && onDead !== undefined && message.subject !== undefined;
    const failure = { ...outcome, error: storable(outcome.error), failureId: reported ? uuidv7() : undefined };
    return database.transaction(async (tx) => {
      if (origin === 'row') await rows.fail(tx, message.messageId, failure);
      else if (!(await rows.addFailed(tx, message, failure))) return false;
      if (reported) await this.#reportDead(tx, [message.messageId]);
      return true;
    });
  }

  async #reportDead(tx: Transaction, ids: readonly string[]): Promise<void> {
    const { rows, onDead } = this.#options;
    const dead = onDead ? await rows.reported(tx, ids) : [];
    if (dead.length > 0) await onDead?.(tx, dead);
  }
}

const ofOrigin = (batch: readonly Work[], origin: Origin) =>
  batch.filter((work) => work.origin === origin).map(({ message }) => message);
