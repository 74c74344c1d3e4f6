// Access of external clients to the embedded broker: they may read some topics, and publish nothing. Services publish
// through the broker itself and subscribe over internal connections, to which these rules do not apply.
import type { AedesPublishPacket, AuthenticateError, Client, ConnectPacket } from 'aedes';
import { BoundedConnection } from './bounded-connection.ts';

/** CONNACK return code 5 of MQTT 3.1.1: not authorized. */
const NOT_AUTHORIZED = 5;

/**
 * Why an external client may not connect like this, or undefined. A Will would be a publish; a session that outlives its
 * connection would fill the disk (clients read missed notifications over HTTP); and a connection with the client id of a
 * service's session would end that session's.
 */
export function rejectionOf(packet: ConnectPacket, prefix: string): AuthenticateError | undefined {
  const reason =
    (packet.will && 'a Will is a publish, and external clients may not publish') ||
    (!packet.clean && 'external clients get clean sessions only') ||
    (packet.clientId.startsWith(`${prefix}-`) && `client ids that begin with ${prefix}- belong to the services`);
  return reason ? Object.assign(new Error(reason), { returnCode: NOT_AUTHORIZED }) : undefined;
}

/** Logs, presence and the live view, with or without wildcards; the topic of one user at a time; never the events. */
export function maySubscribe(filter: string, prefix: string): boolean {
  if (!filter.startsWith(`${prefix}/`)) return false;
  const [first, second] = filter.slice(prefix.length + 1).split('/');
  if (first === 'users') return second !== undefined && second !== '' && !/[+#]/.test(second);
  return first === 'logs' || first === 'services' || first === 'live';
}

/**
 * Whether a message goes to this client now. An external client that reads too slowly misses QoS 0 messages, and is
 * disconnected before it would miss another: after reconnecting it asks for those over HTTP.
 */
export function mayForward(client: Client, packet: AedesPublishPacket): boolean {
  const { conn } = client;
  if (!(conn instanceof BoundedConnection) || !conn.isBehind(packet.topic.length + packet.payload.length)) return true;
  if (packet.qos > 0) conn.destroy(new Error('too far behind in reading'));
  return false;
}
