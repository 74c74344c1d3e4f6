// Aedes with limits and access rules; without them it grants everything to every client. External clients may read some
// topics, and publish nothing. Services publish through the broker itself and subscribe over internal connections.
import { Aedes, type AedesPublishPacket, type AuthenticateError, type Client, type ConnectPacket } from 'aedes';
import type { LevelPersistence } from 'aedes-persistence-level';
import { isCommandId } from '../client-ids.ts';
import { BoundedConnection } from './bounded-connection.ts';
import { MAX_LOSSY_IN_FLIGHT } from './publisher.ts';

/** A service that accepts no packet for this long is disconnected; its session goes on collecting. */
const DRAIN_TIMEOUT_MS = 10_000;
/** A connection must send CONNECT within this time. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Packets that a client may send ahead of its CONNACK. */
const MAX_EARLY_PACKETS = 42;
/** CONNACK return code 5 of MQTT 3.1.1: not authorized. */
const NOT_AUTHORIZED = 5;

/** A client is external unless its connection is in `internal`. */
export function createAedes(
  persistence: LevelPersistence,
  prefix: string,
  internal: WeakSet<Client['conn']>,
): Promise<Aedes> {
  const isExternal = ({ conn }: Client) => !internal.has(conn);
  const rejections = new WeakMap<Client, AuthenticateError>();
  return Aedes.createBroker({
    persistence,
    drainTimeout: DRAIN_TIMEOUT_MS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    queueLimit: MAX_EARLY_PACKETS,
    // Messages in flight: those of QoS 0, the one that is being stored, and the broker's own.
    concurrency: MAX_LOSSY_IN_FLIGHT + 100,
    // The client is told of the rejection in `authenticate`, not here.
    preConnect(client, packet, callback) {
      const rejection = isExternal(client) ? rejectionOf(packet, prefix) : undefined;
      if (rejection) rejections.set(client, rejection);
      callback(null, true);
    },
    authenticate(client, _username, _password, callback) {
      const rejection = rejections.get(client);
      callback(rejection ?? null, rejection === undefined);
    },
    // Services publish without a connection, so no connection may.
    authorizePublish: (_client, _packet, callback) => callback(new Error('only services may publish')),
    authorizeSubscribe(client, subscription, callback) {
      callback(null, !isExternal(client) || maySubscribe(subscription.topic, prefix) ? subscription : null);
    },
    authorizeForward: (client, packet) => (mayForward(client, packet) ? packet : null),
  });
}

/**
 * Why an external client may not connect like this, or undefined. A Will would be a publish; a session that outlives
 * its connection would fill the disk (clients read missed notifications over HTTP); and a connection with the client id
 * of a service's session would end that session's.
 */
function rejectionOf(packet: ConnectPacket, prefix: string): AuthenticateError | undefined {
  const reason =
    (packet.will && 'a Will is a publish, and external clients may not publish') ||
    (!packet.clean && 'external clients get clean sessions only') ||
    (packet.clientId.startsWith(`${prefix}-`) &&
      !isCommandId(packet.clientId, prefix) &&
      `client ids that begin with ${prefix}- belong to the services`);
  return reason ? Object.assign(new Error(reason), { returnCode: NOT_AUTHORIZED }) : undefined;
}

/** Logs, presence and the live view, with or without wildcards; the topic of one user at a time; never the events. */
function maySubscribe(filter: string, prefix: string): boolean {
  if (!filter.startsWith(`${prefix}/`)) return false;
  const [first, second] = filter.slice(prefix.length + 1).split('/');
  if (first === 'users') return second !== undefined && second !== '' && !/[+#]/.test(second);
  return first === 'logs' || first === 'services' || first === 'live';
}

/**
 * Whether a message goes to this client now. An external client that reads too slowly misses QoS 0 messages. It is
 * disconnected before it would miss a message of QoS 1 or 2: after reconnecting, it reads those over HTTP.
 */
function mayForward(client: Client, packet: AedesPublishPacket): boolean {
  const { conn } = client;
  if (!(conn instanceof BoundedConnection) || !conn.isBehind(packet.topic.length + packet.payload.length)) return true;
  if (packet.qos > 0) conn.destroy(new Error('too far behind in reading'));
  return false;
}
