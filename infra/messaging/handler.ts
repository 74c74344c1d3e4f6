// The declarations of a service: the schemas of its events, and a handler for each event type that it subscribes to.
import type { z } from 'zod';
import type { Transaction } from '../database/port.ts';

/** CloudEvents 1.0 as structured JSON. `subject` is the UUID of what the event is about, such as an order. */
export interface CloudEvent<Type extends string = string, Data = unknown> {
  readonly specversion: '1.0';
  /** A UUID. */
  readonly id: string;
  readonly source: string;
  readonly type: Type;
  readonly subject: string;
  /** ISO 8601, in UTC. */
  readonly time: string;
  readonly datacontenttype: 'application/json';
  readonly data: Data;
}

/** The schema of the whole envelope by type. An event is parsed both when it is published and when it is received. */
export type EventCatalogue = Readonly<Record<string, z.ZodType<CloudEvent>>>;

export interface Handler<E extends CloudEvent> {
  /** Returns false for an event that does not concern the service: it is acknowledged without a trace. Pure. */
  accepts?(event: E): boolean;
  /**
   * Work that takes time, or that is done outside the database. Runs before the transaction, for all messages of a
   * batch at once, and again with each attempt.
   */
  prepare?(event: E): Promise<void>;
  /**
   * Writes the effects of a batch, and the replies into the outbox, in the transaction that marks the messages done. If
   * it throws, all of that is rolled back: the messages are then handled one by one, and those that still fail are
   * retried. A subject may come again in another message, so a business key must rule out a second effect.
   */
  handle(tx: Transaction, events: readonly E[]): Promise<unknown>;
  /** Puts the replies about these subjects into the outbox once more, because the requests arrived again. */
  resendReplies?(tx: Transaction, subjects: readonly string[]): Promise<unknown>;
}

/** A handler for each type of `E`; one that handles several types is called once for all their events in a batch. */
export type Handlers<E extends CloudEvent> = { readonly [T in E['type']]: Handler<Extract<E, { readonly type: T }>> };

/** Handlers whose types are not known here: the inbox checks each event with its schema. */
export type AnyHandler = Handler<CloudEvent>;
export type AnyHandlers = { readonly [type: string]: AnyHandler | undefined };

/** A dead message, as the event that reports it needs it. */
export interface DeadMessage {
  readonly messageId: string;
  readonly type: string | null;
  readonly subject: string;
  /** The id of the event that reports it, the same each time. */
  readonly reportId: string;
  /** The kind of failure, which any client may read. The error itself stays in the inbox, for operators. */
  readonly failure: string;
  readonly at: Date;
}

/**
 * Reports dead messages to other services, in the transaction that marks them dead. Called again when such a message
 * arrives again: the report is its reply. Only called for messages with a subject.
 */
export type OnDead = (tx: Transaction, dead: readonly DeadMessage[]) => Promise<unknown>;
