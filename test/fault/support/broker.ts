// RabbitMQ as an operator uses it by hand: inspects, purges and deletes queues, and writes to them.
import { connect } from 'amqplib';
import { onTestFinished } from 'vitest';
import { exchangeOf, queueOf } from '../../../infra/bus/topology.ts';

export interface Broker {
  /** Messages that wait for the service. */
  waiting(service: string): Promise<number>;
  deleteQueue(service: string): Promise<void>;
  /** Removes all waiting messages; returns their number. */
  purge(service: string): Promise<number>;
  /** Sends bytes to a service's queue, bypassing the exchange. Resolves when all are confirmed. */
  send(service: string, bodies: readonly (string | Buffer)[]): Promise<void>;
  /** Publishes events to the services that subscribe to their types. Resolves when all are confirmed. */
  publish(events: readonly Tapped[]): Promise<void>;
  /** From now on copies every published event. */
  tap(): Promise<{ readonly events: readonly Tapped[] }>;
}

/** An event as it was sent. */
export interface Tapped {
  readonly type: string;
  readonly body: Buffer;
}

/** Ends with the test. */
export async function openBroker(url: string, prefix: string): Promise<Broker> {
  const connection = await connect(url);
  onTestFinished(() => connection.close());
  const channel = await connection.createConfirmChannel();
  const topology = { prefix, groups: {} };
  const queue = (service: string) => queueOf(topology, service);
  return {
    waiting: async (service) => (await channel.checkQueue(queue(service))).messageCount,
    async deleteQueue(service) {
      await channel.deleteQueue(queue(service));
    },
    purge: async (service) => (await channel.purgeQueue(queue(service))).messageCount,
    async send(service, bodies) {
      for (const body of bodies) channel.sendToQueue(queue(service), Buffer.from(body), { persistent: true });
      await channel.waitForConfirms();
    },
    async publish(events) {
      for (const { type, body } of events) channel.publish(exchangeOf(topology), type, body, { persistent: true });
      await channel.waitForConfirms();
    },
    async tap() {
      const events: Tapped[] = [];
      const { queue: copies } = await channel.assertQueue('', { exclusive: true });
      await channel.bindQueue(copies, exchangeOf(topology), '#');
      await channel.consume(
        copies,
        (message) => {
          if (message) events.push({ type: message.fields.routingKey, body: message.content });
        },
        { noAck: true },
      );
      return { events };
    },
  };
}
