// Aedes with limits and access rules; without them it grants everything to every client. External clients may read some
// topics, and publish nothing. Services publish through the broker itself and subscribe over internal connections.
import { randomUUID } from 'node:crypto';
import { Aedes, type AedesPublishPacket, type AuthenticateError, type Client, type ConnectPacket } from 'aedes';
import type { LevelPersistence } from 'aedes-persistence-level';
import type { TokenVerifier } from '../../access/tokens.ts';
import { ConnectRejected, connackCodes, maySubscribe, type Reader, readerOfConnect } from '../access.ts';
import { isCommandId } from '../client-ids.ts';
import { BoundedConnection } from './bounded-connection.ts';
import { MAX_LOSSY_IN_FLIGHT } from './publisher.ts';

/** A service that accepts no packet for this long is disconnected; its session goes on collecting. */
const DRAIN_TIMEOUT_MS = 10_000;
/** A connection must send CONNECT within this time. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Packets that a client may send ahead of its CONNACK. */
const MAX_EARLY_PACKETS = 42;
/** The longest time that a timer can wait: 24 days. */
const MAX_TIMER_MS = 2 ** 31 - 1;

interface AedesOptions {
  readonly persistence: LevelPersistence;
  readonly prefix: string;
  /** The connections of this process; clients of others are external. */
  readonly internal: WeakSet<Client['conn']>;
  /** Undefined: external clients need no token. */
  readonly verifier: TokenVerifier | undefined;
}

export function createAedes({ persistence, prefix, internal, verifier }: AedesOptions): Promise<Aedes> {
  const isExternal = ({ conn }: Client) => !internal.has(conn);
  const rejections = new WeakMap<Client, AuthenticateError>();
  const readers = new WeakMap<Client, Reader>();
  const authenticateExternal = async (client: Client, username?: string, password?: Buffer) => {
    const rejection = rejections.get(client);
    if (rejection) throw rejection;
    if (!verifier) return;
    const { conn } = client;
    const address = conn instanceof BoundedConnection ? conn.address : undefined;
    const reader = await readerOfConnect(verifier, { username, password: password?.toString('latin1'), address });
    readers.set(client, reader);
    if (conn instanceof BoundedConnection) conn.setAuthenticated();
    closeAtExpiry(client, reader.expiresAt);
  };
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
      // A connection ends the one with the same client id, so each user has client ids of its own. `authenticate` checks
      // the user name.
      else if (verifier && isExternal(client))
        packet.clientId = `${packet.username}/${packet.clientId || randomUUID()}`;
      callback(null, true);
    },
    authenticate(client, username, password, callback) {
      if (!isExternal(client)) return callback(null, true);
      authenticateExternal(client, username, password).then(
        () => callback(null, true),
        (error) => callback(error, false),
      );
    },
    // Services publish without a connection, so no connection may.
    authorizePublish: (_client, _packet, callback) => callback(new Error('only services may publish')),
    authorizeSubscribe(client, subscription, callback) {
      const allowed = !isExternal(client) || maySubscribe(subscription.topic, prefix, readers.get(client));
      callback(null, allowed ? subscription : null);
    },
    authorizeForward: (client, packet) => (mayForward(client, packet) ? packet : null),
  });
}

/** A connection lasts no longer than the token that opened it. */
function closeAtExpiry(client: Client, expiresAt: number): void {
  if (client.conn.destroyed) return; // it has left while its token was verified
  const timer = setTimeout(() => client.close(), Math.min(expiresAt * 1_000 - Date.now(), MAX_TIMER_MS));
  client.conn.once('close', () => clearTimeout(timer));
}

/**
 * Why an external client may not connect like this, or undefined. A Will would be a publish; a session that outlives
 * its connection would fill the disk (clients read missed notifications over HTTP); and a connection with the client id
 * of a service's session would end that session's.
 */
function rejectionOf(packet: ConnectPacket, prefix: string): ConnectRejected | undefined {
  const reason =
    (packet.will && 'a Will is a publish, and external clients may not publish') ||
    (!packet.clean && 'external clients get clean sessions only') ||
    (packet.clientId.startsWith(`${prefix}-`) &&
      !isCommandId(packet.clientId, prefix) &&
      `client ids that begin with ${prefix}- belong to the services`);
  return reason ? new ConnectRejected(connackCodes.notAuthorized, reason) : undefined;
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
