// A group's subscription: its queue, and its dead-letter queue, whose messages the same receiver records as dead.
import type { ConsumeMessage } from 'amqplib';
import { groupBy } from '../../runtime/collections.ts';
import type { Health } from '../../runtime/health.ts';
import type { Receiver, Subscription } from '../port.ts';
import { deadQueueOf, queueOf } from '../topology.ts';
import { ReplyTimeout } from './connection.ts';
import { type Delivery, QueueConsumer, type QueueConsumerOptions } from './consumer.ts';

/** The broker's reason for a message that was delivered too often. */
const DELIVERED_TOO_OFTEN = 'delivery_limit';

export interface SubscriptionOptions extends Omit<QueueConsumerOptions, 'queue' | 'handle'> {
  readonly receiver: Receiver;
}

export class RabbitmqSubscription implements Subscription {
  readonly #options: SubscriptionOptions;
  readonly #queue: string;
  readonly #events: QueueConsumer;
  readonly #deadLetters: QueueConsumer;
  #counting: Promise<number | undefined> | undefined;
  /** Whether the last check found the queue without a consumer. */
  #wasLost = false;

  constructor(options: SubscriptionOptions) {
    const { topology, group, receiver } = options;
    this.#options = options;
    const queue = queueOf(topology, group);
    this.#queue = queue;
    this.#events = new QueueConsumer({ ...options, queue, handle: (batch) => receiver.process(eventsOf(batch)) });
    const handle = (batch: readonly Delivery[]) => deadLetter(receiver, batch);
    this.#deadLetters = new QueueConsumer({ ...options, queue: deadQueueOf(topology, group), handle });
  }

  /** Resolves when the current attempt to subscribe, if any, has succeeded or failed. */
  async settled(): Promise<void> {
    await Promise.all([this.#events.settled(), this.#deadLetters.settled()]);
  }

  health(): Health {
    const events = this.#events.health();
    const deadLetters = this.#deadLetters.health();
    if (events.status !== 'up' || deadLetters.status === 'up') return events;
    return { status: 'degraded', detail: `dead letters are not read: ${deadLetters.detail}` };
  }

  backlog(): Promise<number | undefined> {
    this.#counting ??= this.#count().finally(() => {
      this.#counting = undefined;
    });
    return this.#counting;
  }

  async rebuild(): Promise<void> {
    await Promise.all([this.#events.rebuild(), this.#deadLetters.rebuild()]);
  }

  async close(): Promise<void> {
    await Promise.all([this.#events.close(), this.#deadLetters.close()]);
  }

  /** On a channel of its own: checking a queue that does not exist closes the channel. */
  async #count(): Promise<number | undefined> {
    const { connection, log } = this.#options;
    if (!connection.model) return undefined;
    try {
      const channel = await connection.openChannel((model) => model.createChannel());
      channel.on('error', () => undefined); // checkQueue rejects with the same error
      const checked = connection.withDeadline(channel.checkQueue(this.#queue));
      const { messageCount, consumerCount } = await checked.finally(() => void connection.closeChannel(channel));
      await this.#checkConsumed(consumerCount > 0);
      return messageCount;
    } catch (error) {
      log.debug({ err: error, queue: this.#queue }, 'backlog unknown');
      if (!(error instanceof ReplyTimeout)) await this.#checkConsumed(false);
      return undefined;
    }
  }

  /**
   * RabbitMQ does not always report that a quorum queue was deleted (seen with 3.10, when another client declared it
   * again within milliseconds): the consumer would wait forever on the old queue. A single check may find a passing
   * state, so it takes two.
   */
  async #checkConsumed(consumed: boolean): Promise<void> {
    const lost = !consumed && this.#events.health().status === 'up';
    if (lost && this.#wasLost) {
      this.#options.log.warn({ queue: this.#queue }, 'the queue has lost its consumer, consuming again');
      await this.rebuild();
    }
    this.#wasLost = lost && !this.#wasLost;
  }
}

const eventsOf = (batch: readonly Delivery[]) => batch.flatMap(({ events }) => events);

/**
 * Records dead letters under the reason that the broker gives. If a message of several events was delivered too often,
 * one of them may have ended the process each time, and the others are not dead: each is tried alone.
 */
async function deadLetter(receiver: Receiver, batch: readonly Delivery[]): Promise<void> {
  const byReason = groupBy(batch, ({ message, events }) => {
    const reason = deathReasonOf(message);
    return reason === DELIVERED_TOO_OFTEN && events.length > 1 ? undefined : reason;
  });
  const recorded = [...byReason].map(([reason, its]) =>
    reason === undefined
      ? receiver.isolate(eventsOf(its))
      : receiver.deadLetter(eventsOf(its), `dead letter: ${reason}`),
  );
  await Promise.all(recorded);
}

const deathReasonOf = ({ properties: { headers } }: ConsumeMessage): string =>
  headers?.['x-first-death-reason'] ?? headers?.['x-death']?.[0]?.reason ?? 'no reason given';
