import type { Logger } from 'pino';
import type { Topology } from '../topology.ts';

export interface RabbitmqBusOptions extends Readonly<Partial<typeof defaults>> {
  /**
   * As parseAmqpUrls() in url.ts reads it. For a cluster, the URLs of its nodes, separated by commas: if one cannot be
   * reached or is lost, the next is tried.
   */
  readonly url: string;
  readonly topology: Topology;
  readonly log: Logger;
}

export type BusSettings = Required<RabbitmqBusOptions>;

export const defaults = {
  /** How long an event may wait to be sent, and then for its confirm. */
  confirmTimeoutMs: 5_000,
  /** Maximum number of events in one message, up to MAX_BATCH_EVENTS. */
  eventsPerMessage: 20,
  /** Unconfirmed messages at a time; others wait. */
  maxUnconfirmed: 1_000,
  /**
   * Unacknowledged messages per subscription, each of up to MAX_EVENT_BYTES: a crash counts as a failed delivery for
   * all of them. Also the number of events that the receiver gets from one channel at a time: the others wait in their
   * messages. The receiver may get twice as many, because those of a lost channel are delivered again while the
   * receiver still handles them.
   */
  prefetch: 200,
  /**
   * Unacknowledged deliveries of a message before it becomes a dead letter. Must be the same in every process that uses
   * the prefix, because it is an argument of the queue.
   */
  deliveryLimit: 20,
  /** How long the broker may take for any other reply: opening a channel, consuming, closing. */
  replyTimeoutMs: 5_000,
};
