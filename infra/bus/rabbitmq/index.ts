// The event bus on RabbitMQ (3.10 or newer): a topic exchange, a quorum queue per group, publisher confirms, and a
// dead-letter queue per group. A broker that is away delays everything and loses nothing.
//
// Publishing and consuming have a connection each: a broker that is short of memory or disk stops reading from those
// that publish, and acknowledgements must go on.
import type { Logger } from 'pino';
import type { Bus } from '../port.ts';
import type { Topology } from '../topology.ts';
import { type Connection, openConnection } from './connection.ts';
import { Publisher } from './publisher.ts';
import { RabbitmqSubscription } from './subscription.ts';

export interface RabbitmqBusOptions {
  /** amqp:// or amqps://; `?heartbeat=` in seconds, 10 where it is left out. Of a cluster, the URLs of its nodes,
   *  separated by commas: when one is away, the next is tried. */
  readonly url: string;
  readonly topology: Topology;
  readonly log: Logger;
  /** How long the broker may take to confirm an event, and how long one may wait before it is sent. */
  readonly confirmTimeoutMs?: number;
  /** Events that may be unconfirmed at a time; the others wait. */
  readonly maxUnconfirmed?: number;
  /** Messages that each subscription may have unacknowledged: a crash counts as a failed delivery for all of them. The
   *  receiver may be given twice as many, for those of a lost channel are delivered again while it still has them. */
  readonly prefetch?: number;
  /** Deliveries of a message that were not acknowledged, before it becomes a dead letter. Must be the same in every
   *  process that uses the prefix: it is part of the queue. */
  readonly deliveryLimit?: number;
  /** How long the broker may take for each other answer: opening a channel, consuming, closing. */
  readonly answerTimeoutMs?: number;
}

/** Connects in the background: a broker that is away shows in health(), never as a rejection. */
export async function openRabbitmqBus(options: RabbitmqBusOptions): Promise<Bus> {
  const { url, topology, log, prefetch = 200, deliveryLimit = 20 } = options;
  const { confirmTimeoutMs = 5_000, maxUnconfirmed = 1_000, answerTimeoutMs = 5_000 } = options;
  const connect = (purpose: string) =>
    openConnection({ urls: url, name: `${topology.prefix} ${purpose}`, answerTimeoutMs, log });

  const publisher = new Publisher({
    connection: await connect('publisher'),
    topology,
    deliveryLimit,
    confirmTimeoutMs,
    maxUnconfirmed,
    log,
  });
  let consuming: Promise<Connection> | undefined;
  let closing: Promise<void> | undefined;

  async function disconnect(): Promise<void> {
    await Promise.all([publisher.close(), consuming?.then((connection) => connection.close())]);
  }

  return {
    kind: 'rabbitmq',
    publish: (events) => publisher.publish(events),
    async subscribe(group, receiver) {
      if (closing) throw new Error('the bus is closed');
      if (!topology.groups[group]) throw new Error(`${group} is no group of the topology`);
      consuming ??= connect('consumer');
      const connection = await consuming;
      const subscription = new RabbitmqSubscription({
        connection,
        topology,
        group,
        receiver,
        prefetch,
        deliveryLimit,
        log,
      });
      await connection.firstAttempt;
      await subscription.settled();
      return subscription;
    },
    health: () => publisher.health(),
    close() {
      closing ??= disconnect();
      return closing;
    },
  };
}
