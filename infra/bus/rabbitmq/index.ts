// The event bus on RabbitMQ (3.10 or newer): a topic exchange, a quorum queue and a dead-letter queue per group, publisher
// confirms. While the broker is away, every event is delayed and none is lost.
//
// Publishing and consuming have a connection each: a broker that is short of memory or disk stops reading from publishing
// connections, and acknowledgements must go on.
import type { Health } from '../../runtime/health.ts';
import type { Bus, OutgoingEvent, Receiver, Rejected, Subscription } from '../port.ts';
import { typesOf } from '../topology.ts';
import { Connection } from './connection.ts';
import { type BusSettings, defaults, type RabbitmqBusOptions } from './options.ts';
import { Publisher } from './publisher.ts';
import { RabbitmqSubscription } from './subscription.ts';

/** Connects in the background: a broker that is away shows in health(), never as an exception. */
export class RabbitmqBus implements Bus {
  readonly kind = 'rabbitmq';
  readonly #settings: BusSettings;
  readonly #publisher: Publisher;
  #consuming: Connection | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: RabbitmqBusOptions) {
    this.#settings = { ...defaults, ...options };
    this.#publisher = new Publisher(this.#settings);
  }

  publish(events: readonly OutgoingEvent[]): Promise<Rejected[]> {
    return this.#publisher.publish(events);
  }

  async subscribe(group: string, receiver: Receiver): Promise<Subscription> {
    if (this.#closing) throw new Error('the bus is closed');
    typesOf(this.#settings.topology, group);
    this.#consuming ??= new Connection(this.#settings, 'consumer');
    const connection = this.#consuming;
    const subscription = new RabbitmqSubscription({ ...this.#settings, connection, group, receiver });
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
}
