// The event bus as the rest of the system sees it. Every adapter guarantees, and the contract suite tests:
//
// - publish: resolves with the events that failed. Every other event is stored durably, for each group that subscribes
//   to it. An event that failed may be stored or not; the caller publishes it again under the same id.
// - subscribe: every event reaches every subscribed group at least once, even a group without a running process. The
//   processes of a group share its events (AMQP, local), or one process at a time receives them all (MQTT).
// - A message is acknowledged only after the receiver's promise has resolved. Order is not guaranteed.

import type { BusError } from '../mqtt/port.ts';
import type { Health } from '../runtime/health.ts';

/** Maximum size of an event's body. */
export const MAX_EVENT_BYTES = 64 * 1024;
/** Maximum number of events in one message, on a transport that sends several together. */
export const MAX_BATCH_EVENTS = 200;
export const EVENT_CONTENT_TYPE = 'application/cloudevents+json';

/** An event to publish. `body` is the JSON text that is sent, unchanged. */
export interface OutgoingEvent {
  readonly id: string;
  readonly type: string;
  /** The type and one more word, if a group may subscribe to only these events of the type. Default: `type`. */
  readonly routingKey?: string | undefined;
  readonly body: string;
  /** An earlier publish may not have finished: its process may have ended, even because of this event. */
  readonly republished?: boolean | undefined;
}

/** An event that was not confirmed, and why. */
export interface PublishFailure {
  readonly id: string;
  readonly error: BusError;
}

/** An event as it arrived, not validated. */
export interface IncomingMessage {
  readonly body: Buffer;
}

/**
 * The side of a transport that a subscribing service implements. A promise resolves when every message of the batch is
 * on disk: only then may the transport acknowledge. A bad message or a failing handler is recorded and does not reject
 * it. While the database is away, the promise waits: the transport sees backpressure instead of errors.
 */
export interface Receiver {
  /**
   * Processes the batch now. For transports that allow many unacknowledged messages. May be called concurrently: all
   * calls together process fewer events at a time than twice the prefetch plus MAX_BATCH_EVENTS.
   */
  process(batch: readonly IncomingMessage[]): Promise<void>;
  /**
   * Stores the batch, to be processed soon. For transports that must acknowledge a message before they see the next.
   */
  enqueue(batch: readonly IncomingMessage[]): Promise<void>;
  /**
   * Stores a batch that was delivered too often, perhaps because one of its events ends the process. Each event is then
   * processed alone, so that only that event becomes dead.
   */
  isolate(batch: readonly IncomingMessage[]): Promise<void>;
  /**
   * Processes the messages whose handler only writes to the database, and stores the others, which may take long. For
   * transports that keep a message until the promise resolves. They pass a message that they deliver again to
   * `enqueue`, which counts attempts.
   */
  processOrEnqueue(batch: readonly IncomingMessage[]): Promise<void>;
  /** Marks as dead the messages that the broker no longer delivers. */
  deadLetter(batch: readonly IncomingMessage[], reason: string): Promise<void>;
  /** Claims rows that are due now, rather than at the next poll. */
  wake(): void;
}

export interface Subscription {
  health(): Health;
  /**
   * Messages that wait at the broker for this group, or undefined while unknown. Over MQTT, 1 means at least one; on
   * RabbitMQ, each holds one event or several.
   */
  backlog(): Promise<number | undefined>;
  /** Replaces the subscription by a new one. The watchdog calls this if the subscription makes no progress. */
  rebuild(): Promise<void>;
  /** Receives no more; resolves when running batches are acknowledged. Safe to call twice. */
  close(): Promise<void>;
}

export interface Bus {
  readonly kind: 'local' | 'rabbitmq' | 'mqtt';
  /** Publishes a batch; resolves with the events that failed. Never rejects. */
  publish(events: readonly OutgoingEvent[]): Promise<PublishFailure[]>;
  /**
   * `group` is a key of the topology. Resolves when the subscription is established or, while the broker is away, when
   * it is being established in the background.
   */
  subscribe(group: string, receiver: Receiver): Promise<Subscription>;
  health(): Health;
  /** For a stop: from now on, a broker that is away or does not respond is waited for at most a second. */
  interrupt(): void;
  /** Waits for pending publishes, then disconnects. Close the subscriptions first. Safe to call twice. */
  close(): Promise<void>;
}
