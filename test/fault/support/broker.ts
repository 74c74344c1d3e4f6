// RabbitMQ as an operator uses it by hand: inspects, purges and deletes queues, and writes to them.
import { connect } from 'amqplib';
import { onTestFinished } from 'vitest';
import { BATCH_CONTENT_TYPE, eventsIn } from '../../../infra/bus/rabbitmq/batch.ts';
import { exchangeOf, queueOf } from '../../../infra/bus/topology.ts';

export interface Broker {
  /** Messages that wait for the service. */
  waiting(service: string): Promise<number>;
  deleteQueue(service: string): Promise<void>;
  /** Removes all waiting messages; returns their number. */
  purge(service: string): Promise<number>;
  /** Removes all waiting messages; returns their events. */
  take(service: string): Promise<Tapped[]>;
  /** Sends bytes to a service's queue, bypassing the exchange. Resolves when all are confirmed. */
  send(service: string, bodies: readonly (string | Buffer)[]): Promise<void>;
  /** Publishes events to the services that subscribe to their types. Resolves when all are confirmed. */
  publish(events: readonly Tapped[]): Promise<void>;
  /** Sends events to a service's queue in one message. Resolves when it is confirmed. */
  sendBatch(service: string, events: readonly Tapped[]): Promise<void>;
  /** From now on copies every published event. */
  tap(): Promise<{ readonly events: readonly Tapped[] }>;
}

/** An event as it was sent. */
export interface Tapped {
  readonly routingKey: string;
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
    async take(service) {
      const events: Tapped[] = [];
      for (let message = await channel.get(queue(service)); message; message = await channel.get(queue(service))) {
        const { routingKey } = message.fields;
        events.push(...eventsIn(message).map(({ body }) => ({ routingKey, body })));
        channel.ack(message);
      }
      return events;
    },
    async send(service, bodies) {
      for (const body of bodies) channel.sendToQueue(queue(service), Buffer.from(body), { persistent: true });
      await channel.waitForConfirms();
    },
    async publish(events) {
      for (const { routingKey, body } of events)
        channel.publish(exchangeOf(topology), routingKey, body, { persistent: true });
      await channel.waitForConfirms();
    },
    async sendBatch(service, events) {
      const body = `[${events.map((event) => event.body.toString()).join()}]`;
      channel.sendToQueue(queue(service), Buffer.from(body), { persistent: true, contentType: BATCH_CONTENT_TYPE });
      await channel.waitForConfirms();
    },
    async tap() {
      const events: Tapped[] = [];
      const { queue: copies } = await channel.assertQueue('', { exclusive: true });
      await channel.bindQueue(copies, exchangeOf(topology), '#');
      await channel.consume(
        copies,
        (message) => {
          if (!message) return;
          const { routingKey } = message.fields;
          events.push(...eventsIn(message).map(({ body }) => ({ routingKey, body })));
        },
        { noAck: true },
      );
      return { events };
    },
  };
}
