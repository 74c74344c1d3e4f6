// The rules of access.ts in RabbitMQ's terms. Its MQTT plugin makes a queue for each client id, and binds it to the
// exchange amq.topic for each subscription.
import { maySubscribe, type Reader } from './access.ts';
import { isCommandId } from './client-ids.ts';
import type { MqttServer } from './url.ts';

const EXCHANGE = 'amq.topic';
const QUEUE = /^mqtt-subscription-(.*)qos[01]$/s;

/**
 * A client id belongs to no user of RabbitMQ: a connection ends the one with the same id, and takes over its session. So
 * each user has ids of its own, and operators have those of commands too.
 */
export const mayUseClientId = (id: string, prefix: string, { username, isOperator }: Reader): boolean =>
  id.startsWith(`${username}/`) || (isOperator && isCommandId(id, prefix));

/** The virtual host of the system's own clients: the plugin takes it from the user name, before the last colon. */
export const virtualHostOf = ({ user = '' }: MqttServer): string =>
  user.includes(':') ? user.slice(0, user.lastIndexOf(':')) : '/';

interface Resource {
  readonly resource: string;
  readonly name: string;
  readonly permission: string;
}

/** What a subscription needs: the client's queues, and to bind them. */
export function mayUseResource({ resource, name, permission }: Resource, prefix: string, reader: Reader): boolean {
  if (resource === 'exchange') return name === EXCHANGE && permission === 'read';
  const id = QUEUE.exec(name)?.[1];
  return resource === 'queue' && id !== undefined && mayUseClientId(id, prefix, reader);
}

interface Topic {
  readonly name: string;
  readonly permission: string;
  readonly routing_key: string;
}

export const mayUseTopic = ({ name, permission, routing_key }: Topic, prefix: string, reader: Reader): boolean =>
  name === EXCHANGE && permission === 'read' && maySubscribe(filterOf(routing_key), prefix, reader);

const filterOf = (routingKey: string) => routingKey.replaceAll('.', '/').replaceAll('*', '+');
