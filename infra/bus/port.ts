// The event bus as the rest of the system sees it. What every adapter guarantees, and the contract suite tests:
//
// - publish: an event that is not in the answer has been taken over by the broker for every subscribed group, durably.
//   One that is in the answer may or may not have been; it is published again under the same id.
// - subscribe: every event reaches every group at least once, also a group that was away; within a group the members
//   share the events where the broker can (AMQP, local) or one member holds the subscription (MQTT).
// - a message is acknowledged only after the receiver's promise resolved. Order is not guaranteed.

import type { BusError } from '../mqtt/bus-error.ts';
import type { Health } from '../runtime/health.ts';

/** An event's body may not be larger. */
export const MAX_EVENT_BYTES = 64 * 1024;
export const EVENT_CONTENT_TYPE = 'application/cloudevents+json';

/** An event on its way out. `body` is the JSON that goes over the wire, as it is. */
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

/** A message as it arrived, before anyone trusted it. */
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
  /** Messages that wait at the broker for this group, or undefined where it does not tell now. Over MQTT, whether any do. */
  backlog(): Promise<number | undefined>;
  /** Ends and renews the subscription, as the watchdog asks when it makes no progress. */
  rebuild(): Promise<void>;
  /** Stops the intake; resolves when what was running has been acknowledged. Safe to call twice. */
  close(): Promise<void>;
}

export interface Bus {
  readonly kind: 'local' | 'rabbitmq' | 'mqtt';
  /** Publishes a batch; resolves with the events that the broker did not take over. Never rejects. */
  publish(events: readonly OutgoingEvent[]): Promise<Rejected[]>;
  /** `group` is a key of the topology the bus was made with. Resolves when the subscription is established or, while
   *  the broker is away, being established in the background. */
  subscribe(group: string, receiver: Receiver): Promise<Subscription>;
  health(): Health;
  /** Waits for publishes under way, then disconnects. Close the subscriptions first. Safe to call twice. */
  close(): Promise<void>;
}
