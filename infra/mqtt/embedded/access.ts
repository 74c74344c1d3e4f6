// What outsiders may do at the embedded broker: read, and only what is meant for them. Inside the process, services
// publish through the broker itself and subscribe over connections that are told apart by being made here.
import type { AedesPublishPacket, AuthenticateError, Client, ConnectPacket } from 'aedes';
import { BoundedConnection } from './bounded-connection.ts';

/** CONNACK return code 5 of MQTT 3.1.1: not authorized. */
const NOT_AUTHORIZED = 5;

/**
 * Why an outsider may not connect like this, or undefined. A Will would be a publish; a session that outlives its
 * connection would grow on our disk (missed notifications are read over HTTP); and who connects with the client id of a
 * service's session would end it.
 */
export function rejectionOf(packet: ConnectPacket, prefix: string): AuthenticateError | undefined {
  const reason =
    (packet.will && 'a Will is a publish, and outsiders may not publish') ||
    (!packet.clean && 'outsiders get clean sessions only') ||
    (packet.clientId.startsWith(`${prefix}-`) && `client ids that begin with ${prefix}- belong to the services`);
  return reason ? Object.assign(new Error(reason), { returnCode: NOT_AUTHORIZED }) : undefined;
}

/** Logs, presence and the live view with or without wildcards; of users one at a time; never the events. */
export function maySubscribe(filter: string, prefix: string): boolean {
  if (!filter.startsWith(`${prefix}/`)) return false;
  const [first, second] = filter.slice(prefix.length + 1).split('/');
  if (first === 'users') return second !== undefined && second !== '' && !/[+#]/.test(second);
  return first === 'logs' || first === 'services' || first === 'live';
}

/**
 * Whether a message goes to this client now. Outsiders who are behind in reading miss what may be missed (QoS 0), and
 * are cut off from what may not: they reconnect and ask over HTTP for what they missed.
 */
export function mayForward(client: Client, packet: AedesPublishPacket): boolean {
  const { conn } = client;
  if (!(conn instanceof BoundedConnection) || !conn.isBehind(packet.topic.length + packet.payload.length)) return true;
  if (packet.qos > 0) conn.destroy(new Error('too far behind in reading'));
  return false;
}
