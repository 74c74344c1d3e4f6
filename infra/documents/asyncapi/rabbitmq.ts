// RabbitMQ in an AsyncAPI document: a channel for each routing key, each queue and each dead-letter queue.
import { deadQueueOptions, queueOptions } from '../../bus/rabbitmq/declare.ts';
import { defaults } from '../../bus/rabbitmq/options.ts';
import {
  bindingsOf,
  deadExchangeOf,
  deadQueueOf,
  exchangeOf,
  queueOf,
  routingKeysOf,
  typesOf,
} from '../../bus/topology.ts';
import { BATCH_MESSAGE, emittedBy, messagesOf, operation, serverRef } from './parts.ts';
import type { Channel, Operation, Part, Scope, Server } from './types.ts';

const SERVER = 'rabbitmq';
const bindingVersion = '0.3.0';
const servers = [serverRef(SERVER)];

const server: Server = {
  host: '{amqpHost}:{amqpPort}',
  protocol: 'amqp',
  protocolVersion: '0.9.1',
  description: 'RabbitMQ at AMQP_URL, 3.10 or newer. amqps with TLS.',
  variables: {
    amqpHost: { default: 'localhost', description: 'The host in AMQP_URL.' },
    amqpPort: { default: '5672', description: 'The port in AMQP_URL.' },
  },
};

const queueBinding = (name: string) => ({
  amqp: { is: 'queue', queue: { name, durable: true, exclusive: false, autoDelete: false }, bindingVersion },
});
const acknowledged = { bindings: { amqp: { ack: true, bindingVersion } } };

export function rabbitmqBus(scope: Scope): Part {
  const parts = scope.services.flatMap((service) => [sending(scope, service), receiving(scope, service)]);
  const all = <Value>(pick: (part: Added) => Record<string, Value>) =>
    Object.assign({}, ...parts.map(pick)) as Record<string, Value>;
  return {
    servers: { [SERVER]: server },
    channels: all(({ channels }) => channels),
    operations: all(({ operations }) => operations),
  };
}

interface Added {
  readonly channels: Record<string, Channel>;
  readonly operations: Record<string, Operation>;
}

/** A service publishes on the exchange, with a routing key. */
function sending({ topology, emissions }: Scope, service: string): Added {
  const channels: Record<string, Channel> = {};
  const operations: Record<string, Operation> = {};
  const exchange = { name: exchangeOf(topology), type: 'topic', durable: true, autoDelete: false };
  for (const type of emittedBy(emissions, service))
    for (const key of routingKeysOf(topology, type)) {
      const name = `rabbitmq.${key}`;
      const channel: Channel = {
        address: key,
        title: `${key} on the exchange ${exchange.name}`,
        description:
          `The routing key of ${key === type ? 'events of this type' : `those ${type} events that a narrowed queue receives`}. ` +
          'One message holds one event, or several as a batch.',
        servers,
        messages: messagesOf([type, BATCH_MESSAGE]),
        bindings: { amqp: { is: 'routingKey', exchange, bindingVersion } },
      };
      channels[name] = channel;
      operations[`rabbitmq.${service}.send.${key}`] = operation('send', service, [name, channel], {
        title: `${service} publishes ${key}`,
        description: 'Persistent, confirmed and mandatory: a returned message counts as unpublished.',
        bindings: { amqp: { deliveryMode: 2, mandatory: true, bindingVersion } },
      });
    }
  return { channels, operations };
}

/** A service consumes its queue, and reads its dead letters into its inbox. */
function receiving({ topology }: Scope, service: string): Added {
  const types = typesOf(topology, service);
  const [queue, dead] = [queueOf(topology, service), deadQueueOf(topology, service)];
  const [queueName, deadName] = [`rabbitmq.queue.${service}`, `rabbitmq.dead.${service}`];
  const channels: Record<string, Channel> = {
    [queueName]: {
      address: queue,
      title: `The queue of ${service}`,
      description: 'A quorum queue, declared by consumers and publishers alike.',
      servers,
      messages: messagesOf([...types, BATCH_MESSAGE]),
      bindings: queueBinding(queue),
      'x-queue-arguments': queueOptions(topology, service, defaults.deliveryLimit).arguments,
      'x-binding-keys': bindingsOf(topology, service).bound,
    },
    [deadName]: {
      address: dead,
      title: `The dead-letter queue of ${service}`,
      description: `Messages that were delivered ${defaults.deliveryLimit} times without an acknowledgement, by the exchange ${deadExchangeOf(topology)}.`,
      servers,
      messages: messagesOf([...types, BATCH_MESSAGE]),
      bindings: queueBinding(dead),
      'x-queue-arguments': deadQueueOptions.arguments,
      'x-binding-keys': [queue],
    },
  };
  const receive = (name: string, title: string) =>
    operation('receive', service, [name, channels[name] as Channel], { title, ...acknowledged });
  return {
    channels,
    operations: {
      [`rabbitmq.${service}.receive`]: receive(queueName, `${service} consumes its queue`),
      [`rabbitmq.${service}.receive-dead`]: receive(deadName, `${service} stores its dead letters as dead messages`),
    },
  };
}
