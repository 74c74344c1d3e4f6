// What a service writes for each event type it subscribes to.
import type { Transaction } from '../database/port.ts';
import type { CloudEvent } from './catalogue.ts';

export interface Handler<E extends CloudEvent> {
  /** Whether the event says anything to this service; where not, it is acknowledged and leaves no trace. Pure. */
  concerns?(event: E): boolean;
  /**
   * Work that takes time or leaves the database: done before the transaction, for all messages of a batch at once.
   * Repeated with each attempt.
   */
  prepare?(event: E): Promise<void>;
  /**
   * The effects of a batch, and their answers into the outbox, in the transaction that marks the messages done.
   * Throwing rolls all of it back: the batch is then handled one message at a time, and what still fails is retried.
   * The same subject may come again in another message: a business key must make the second effect impossible.
   */
  handle(tx: Transaction, events: readonly E[]): Promise<void>;
  /** These subjects were asked for again: puts the answers they got back into the outbox. */
  repeat?(tx: Transaction, subjects: readonly string[]): Promise<unknown>;
}

/** A handler for every type among `E`; one that serves several types gets their batch in one call. */
export type Handlers<E extends CloudEvent> = { readonly [T in E['type']]: Handler<Extract<E, { readonly type: T }>> };

/** The same, where the types are not known: the inbox has checked each event against its schema. */
export type AnyHandler = Handler<CloudEvent>;
export type AnyHandlers = { readonly [type: string]: AnyHandler | undefined };

/** A message that is dead, for the event that reports it. */
export interface DeadMessage {
  readonly messageId: string;
  readonly type: string | null;
  readonly subject: string;
  /** For the event that reports it: the same each time it is reported. */
  readonly reportId: string;
  /** The kind of failure, for anyone to read. The error itself is for operators, in the inbox. */
  readonly failure: string;
  readonly at: Date;
}

/**
 * Reports dead messages to whom they matter, in the transaction that marks them dead. Called again for those that arrive
 * once more: the report is the reply to them. Only for messages with a subject.
 */
export type OnDead = (tx: Transaction, dead: readonly DeadMessage[]) => Promise<unknown>;
