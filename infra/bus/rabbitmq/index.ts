// The event bus on RabbitMQ (3.10 or newer): a topic exchange, a quorum queue and a dead-letter queue per group, publisher
// confirms. While the broker is away, every event is delayed and none is lost.
//
// Publishing and consuming have a connection each: a broker that is short of memory or disk stops reading from publishing
// connections, and acknowledgements must go on.
import type { Logger } from 'pino';
import type { Health } from '../../runtime/health.ts';
import type { Bus, OutgoingEvent, Receiver, Rejected, Subscription } from '../port.ts';
import { exchangeOf, type Topology } from '../topology.ts';
import { Connection } from './connection.ts';
import { declareGroup, declareTopology } from './declare.ts';
import { Publisher } from './publisher.ts';
import { RabbitmqSubscription } from './subscription.ts';

export interface RabbitmqBusOptions {
  /** amqp:// or amqps://; `?heartbeat=` in seconds, default 10. For a cluster, the URLs of its nodes, separated by commas:
   *  if one is away, the next is tried. */
  readonly url: string;
  readonly topology: Topology;
  readonly log: Logger;
  /** How long an event may wait to be sent, and then for its confirm. */
  readonly confirmTimeoutMs?: number;
  /** Unconfirmed events at a time; others wait. */
  readonly maxUnconfirmed?: number;
  /** Unacknowledged messages per subscription: a crash counts as a failed delivery for all of them. The receiver may get
   *  twice as many, because those of a lost channel are delivered again while the receiver still handles them. */
  readonly prefetch?: number;
  /** Unacknowledged deliveries of a message before it becomes a dead letter. Must be the same in every process that uses
   *  the prefix, because it is an argument of the queue. */
  readonly deliveryLimit?: number;
  /** How long the broker may take for any other reply: opening a channel, consuming, closing. */
  readonly replyTimeoutMs?: number;
}

/** Connects in the background: a broker that is away shows in health(), never as an exception. */
export class RabbitmqBus implements Bus {
  readonly kind = 'rabbitmq';
  readonly #options: RabbitmqBusOptions;
  readonly #deliveryLimit: number;
  readonly #publisher: Publisher;
  #consuming: Connection | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: RabbitmqBusOptions) {
    const { topology, log, confirmTimeoutMs = 5_000, maxUnconfirmed = 1_000, deliveryLimit = 20 } = options;
    this.#options = options;
    this.#deliveryLimit = deliveryLimit;
    this.#publisher = new Publisher({
      connection: this.#connect('publisher'),
      exchange: exchangeOf(topology),
      declare: (channel) => declareTopology(channel, topology, deliveryLimit),
      confirmTimeoutMs,
      maxUnconfirmed,
      log,
    });
  }

  publish(events: readonly OutgoingEvent[]): Promise<Rejected[]> {
    return this.#publisher.publish(events);
  }

  async subscribe(group: string, receiver: Receiver): Promise<Subscription> {
    const { topology, prefetch = 200, log } = this.#options;
    if (this.#closing) throw new Error('the bus is closed');
    if (!topology.groups[group]) throw new RangeError(`the topology has no group ${group}`);
    this.#consuming ??= this.#connect('consumer');
    const connection = this.#consuming;
    const subscription = new RabbitmqSubscription({
      connection,
      topology,
      group,
      receiver,
      prefetch,
      declare: (channel) => declareGroup(channel, topology, group, this.#deliveryLimit),
      log,
    });
    await connection.attempted;
    await subscription.settled();
    return subscription;
  }

  health(): Health {
    return this.#publisher.health();
  }

  close(): Promise<void> {
    this.#closing ??= Promise.all([this.#publisher.close(), this.#consuming?.close()]).then(() => {});
    return this.#closing;
  }

  #connect(purpose: string): Connection {
    const { url, topology, log, replyTimeoutMs = 5_000 } = this.#options;
    return new Connection({ urls: url, name: `${topology.prefix} ${purpose}`, replyTimeoutMs, log });
  }
}
