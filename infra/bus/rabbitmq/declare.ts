// The queues, exchanges and bindings on RabbitMQ. Declaring is idempotent. If a queue exists with other arguments, the
// broker closes the channel (406 PRECONDITION_FAILED), and the operator has to resolve the conflict.
import type { Channel } from 'amqplib';
import { bindingsOf, deadExchangeOf, deadQueueOf, exchangeOf, queueOf, type Topology } from '../topology.ts';

/** From RabbitMQ 4.0 an unset limit means 20, and a dead letter beyond its limit is dropped. 3.x does not accept -1. */
const NO_DELIVERY_LIMIT = 2 ** 31 - 1;

/** The arguments of a group's queue. */
export const queueArguments = (topology: Topology, group: string, deliveryLimit: number) => ({
  'x-queue-type': 'quorum',
  'x-delivery-limit': deliveryLimit,
  'x-dead-letter-exchange': deadExchangeOf(topology),
  'x-dead-letter-routing-key': queueOf(topology, group),
  'x-dead-letter-strategy': 'at-least-once',
  'x-overflow': 'reject-publish', // at-least-once dead-lettering needs it
});

/** The arguments of every dead-letter queue. */
export const deadQueueArguments = { 'x-queue-type': 'quorum', 'x-delivery-limit': NO_DELIVERY_LIMIT };

/**
 * Declares one group's queues. The dead-letter queue comes first: no message may become a dead letter before it exists.
 */
export async function declareGroup(channel: Channel, topology: Topology, group: string, deliveryLimit: number) {
  const queue = queueOf(topology, group);
  const deadQueue = deadQueueOf(topology, group);

  await channel.assertExchange(deadExchangeOf(topology), 'direct', { durable: true });
  await channel.assertQueue(deadQueue, { durable: true, arguments: deadQueueArguments });
  await channel.bindQueue(deadQueue, deadExchangeOf(topology), queue);

  await channel.assertExchange(exchangeOf(topology), 'topic', { durable: true });
  const queueArgs = queueArguments(topology, group, deliveryLimit);
  await channel.assertQueue(queue, { durable: true, arguments: queueArgs });
  const { bound, obsolete } = bindingsOf(topology, group);
  for (const key of bound) await channel.bindQueue(queue, exchangeOf(topology), key);
  // After the new bindings, so that no event finds neither.
  for (const key of obsolete) await channel.unbindQueue(queue, exchangeOf(topology), key);
}

/** Declares all groups' queues. For publishers, so that no event is published before its queues exist. */
export async function declareTopology(channel: Channel, topology: Topology, deliveryLimit: number) {
  for (const group of Object.keys(topology.groups)) await declareGroup(channel, topology, group, deliveryLimit);
}
