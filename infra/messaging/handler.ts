// What a service writes for each event type it subscribes to.
import type { Event, EventType } from '../../contracts/events.ts';
import type { ServiceName, Subscribed } from '../../contracts/services.ts';
import type { Transaction } from '../database/port.ts';

export interface Handler<T extends EventType> {
  /** Whether the event says anything to this service; where not, it is acknowledged and leaves no trace. Pure. */
  concerns?(event: Event<T>): boolean;
  /**
   * Work that takes time or leaves the database: done before the transaction, for all messages of a batch at once.
   * Repeated with each attempt.
   */
  prepare?(event: Event<T>): Promise<void>;
  /**
   * The effects of a batch, and their answers into the outbox, in the transaction that marks the messages done.
   * Throwing rolls all of it back: the batch is then handled one message at a time, and what still fails is retried.
   * The same order may come again in another message: a business key must make the second effect impossible.
   */
  handle(tx: Transaction, events: readonly Event<T>[]): Promise<void>;
  /** These subjects were asked for again: puts the answers they got back into the outbox. */
  repeat?(tx: Transaction, subjects: readonly string[]): Promise<void>;
}

/** A handler for every type the service subscribes to; one that serves several types gets their batch in one call. */
export type Handlers<S extends ServiceName> = { readonly [T in Subscribed<S>]: Handler<T> };

/** The same, where the types are not known: the inbox has checked each event against its schema. */
export type AnyHandler = Handler<EventType>;
export type AnyHandlers = { readonly [type: string]: AnyHandler | undefined };
