// The event bus as the rest of the system sees it. Every adapter guarantees, and the contract suite tests:
//
// - publish: if an event is not among the rejected ones, the broker has durably taken it over for every subscribed group.
//   A rejected event may have been taken over or not; the caller publishes it again under the same id.
// - subscribe: every event reaches every group at least once, also a group that was away. Within a group the processes
//   share the events (AMQP, local), or one process at a time receives them all (MQTT).
// - A message is acknowledged only after the receiver's promise resolved. Order is not guaranteed.

import type { BusError } from '../mqtt/port.ts';
import type { Health } from '../runtime/health.ts';

/** Maximum size of an event's body. */
export const MAX_EVENT_BYTES = 64 * 1024;
export const EVENT_CONTENT_TYPE = 'application/cloudevents+json';

/** An event to publish. `body` is the JSON text that is sent, unchanged. */
export interface OutgoingEvent {
  readonly id: string;
  readonly type: string;
  readonly body: string;
}

/** An event that the broker did not take over. */
export interface Rejected {
  readonly id: string;
  readonly error: BusError;
}

/** A message as it arrived, not validated. */
export interface IncomingMessage {
  readonly body: Buffer;
}

/**
 * The side of a transport that a subscribing service implements. A promise resolves when every message of the batch is on
 * disk: only then may the transport acknowledge. A bad message or a failing handler is recorded and rejects nothing.
 * While the database is away the promises wait, so a transport sees backpressure instead of errors.
 */
export interface Receiver {
  /** Processes the batch now. For transports that can leave many messages unacknowledged. May be called concurrently. */
  process(batch: readonly IncomingMessage[]): Promise<void>;
  /** Stores the batch, to be processed soon. For transports that must acknowledge a message before they see the next. */
  enqueue(batch: readonly IncomingMessage[]): Promise<void>;
  /** Records messages as dead that the broker gave up on. */
  deadLetter(batch: readonly IncomingMessage[], reason: string): Promise<void>;
  /** Announces new rows in the inbox. For transports that write there themselves. */
  wake(): void;
}

export interface Subscription {
  health(): Health;
  /** Messages that wait at the broker for this group, or undefined while unknown. Over MQTT, 1 means at least one. */
  backlog(): Promise<number | undefined>;
  /** Replaces the subscription by a new one; the watchdog's remedy for a subscription without progress. */
  rebuild(): Promise<void>;
  /** Receives no more; resolves when running batches are acknowledged. Safe to call twice. */
  close(): Promise<void>;
}

export interface Bus {
  readonly kind: 'local' | 'rabbitmq' | 'mqtt';
  /** Publishes a batch; resolves with the events that the broker did not take over. Never rejects. */
  publish(events: readonly OutgoingEvent[]): Promise<Rejected[]>;
  /** `group` is a key of the topology. Resolves when the subscription is established or, while the broker is away, when
   *  it is being established in the background. */
  subscribe(group: string, receiver: Receiver): Promise<Subscription>;
  health(): Health;
  /** Waits for pending publishes, then disconnects. Close the subscriptions first. Safe to call twice. */
  close(): Promise<void>;
}
